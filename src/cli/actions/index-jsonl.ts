/** Stages of `penstock index` and of the Modalities command `data create_raw_index`. */
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
