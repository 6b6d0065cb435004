/** Indexing with the semantics of Modalities' command: keeps or replaces an existing index and creates its folder. */
import { dirname } from 'node:path'
import { makeFolder } from '../../files/durable.js'
import { definitionOf } from '../../pipelines/definition.js'
import { isKept, type JobFlags } from '../actions/document-jobs.js'
import { runDefinition } from '../actions/run-definition.js'

/** @param stages the stages that write the index to `path` */
export async function indexFile(path: string, stages: readonly object[], flags: JobFlags): Promise<void> {
  if (await isKept(path, flags)) return
  await makeFolder(dirname(path))
  await runDefinition(definitionOf({ name: 'index', stages }, 'penstock data create_raw_index'), flags)
}
