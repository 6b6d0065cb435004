/** Indexing with the semantics of Modalities' command: an existing index is kept or replaced, its folder is created. */
import { dirname } from 'node:path'
import { makeFolder } from '../../files/durable.js'
import { definitionOf } from '../../pipelines/definition.js'
import { isKept, type JobFlags } from '../actions/document-jobs.js'
import { runDefinition } from '../actions/run-definition.js'

/** @param stages what writes the index at `path` */
export async function indexFile(path: string, stages: readonly object[], flags: JobFlags): Promise<void> {
  if (await isKept(path, flags)) return
  await makeFolder(dirname(path))
  await runDefinition(definitionOf({ name: 'index', stages }, 'penstock data create_raw_index'), flags)
}
