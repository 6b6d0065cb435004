/** The stages of `index`, for this command and for `data create_raw_index` of Modalities. */
import { DEFAULT_LINE_BYTES } from '../../formats/jsonl.js'
import { type FaultFlags, faultOptionsOf, type OutputFlags } from '../output/shared-options.js'

export function indexStages(source: string, path: string, flags: FaultFlags & OutputFlags): object[] {
  const faults = faultOptionsOf(flags)
  return [
    { 'read-file': { path: source } },
    { 'read-lines': faults },
    { 'validate-json': faults },
    { 'write-index': { path, if_exists: flags.ifExists } },
  ]
}

/** Has the pass over the file begin while `run` loads the rest of its code. */
export async function withIndexingStarted(source: string, run: () => Promise<void>): Promise<void> {
  const { withStartedRun } = await import('../../workers/ranges/range-run.js')
  await withStartedRun({ path: source, maxLineBytes: DEFAULT_LINE_BYTES, index: true }, run)
}
