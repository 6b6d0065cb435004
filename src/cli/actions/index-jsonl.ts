/** The stages of `index`, for this command and for `data create_raw_index` of Modalities. */
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
