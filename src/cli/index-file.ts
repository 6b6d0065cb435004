/** Indexing as the reference system's command does it. */
import { dirname } from 'node:path'
import { definitionOf } from '../pipelines/definition.js'
import { makeFolder } from '../training/durable.js'
import { isKept, type JobFlags } from './document-jobs.js'
import { indexStages } from './index-command.js'
import { runDefinition } from './run-definition.js'
import { type FaultFlags, withoutEnding } from './shared-options.js'

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
