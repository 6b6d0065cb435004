/** Indexing as the reference system's command does it. */
import { dirname } from 'node:path'
import { makeFolder } from '../../files/durable.js'
import { definitionOf } from '../../pipelines/definition.js'
import { isKept, type JobFlags } from '../actions/document-jobs.js'
import { indexStages } from '../actions/index-jsonl.js'
import { runDefinition } from '../actions/run-definition.js'
import { type FaultFlags, withoutEnding } from '../output/shared-options.js'

export async function indexFile(
  source: string,
  indexPath: string | undefined,
  flags: JobFlags & FaultFlags,
): Promise<void> {
  const path = indexPath ?? `${withoutEnding(source)}.idx`
  if (await isKept(path, flags)) return
  await makeFolder(dirname(path))
  const stages = indexStages(source, path, flags)
  await runDefinition(definitionOf({ name: 'index', stages }, 'penstock data create_raw_index'), flags)
}
