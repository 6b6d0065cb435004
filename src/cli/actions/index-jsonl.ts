/** Stages of `penstock index` and of the Modalities command `data create_raw_index`. */
import { PenstockError } from '../../errors.js'
import { requireFormat } from '../../files/source-format.js'
import { type FaultFlags, faultOptionsOf, type OutputFlags, outputNamedAfter } from '../output/shared-options.js'
import { missingOutputs, policyOfEach } from './missing-outputs.js'
import { filesOf } from './read-sources.js'

export interface IndexFlags extends FaultFlags, OutputFlags {
  readonly output?: string
}

/**
 * One pipeline per source. Of several sources, those that have an index already are left out, so that the same command
 * continues after new files arrive.
 * @throws ARGUMENT_INVALID for a name for several indexes; UNSUPPORTED for a format without lines; FILE_MISSING
 */
export async function indexPipelines(sources: readonly string[], flags: IndexFlags): Promise<Record<string, object[]>> {
  // Flags that contradict each other are reported before a missing source.
  faultOptionsOf(flags)
  const files = filesOf(sources, 'name')
  for (const file of files) {
    if (requireFormat(file) === 'jsonl') continue
    throw new PenstockError('UNSUPPORTED', 'an index lists the lines of a JSONL file; this is another format', { file })
  }
  const pathOf = (file: string): string => flags.output ?? outputNamedAfter(file, '.idx')
  const [only] = files
  if (files.length === 1) return { index: indexStages(only!, pathOf(only!), flags) }
  if (flags.output !== undefined) {
    throw new PenstockError('ARGUMENT_INVALID', `--output names one index, but there are ${files.length} sources`)
  }
  const missing = new Set(await missingOutputs(files.map(pathOf), flags.ifExists))
  const each: IndexFlags = { ...flags, ifExists: policyOfEach(flags.ifExists) }
  const written = files.filter(file => missing.has(pathOf(file)))
  return Object.fromEntries(written.map(file => [file, indexStages(file, pathOf(file), each)]))
}

export function indexStages(source: string, path: string, flags: FaultFlags & OutputFlags): object[] {
  const faults = faultOptionsOf(flags)
  return [
    { 'read-file': { path: source } },
    { 'read-lines': faults },
    { 'validate-json': faults },
    { 'write-index': { path, if_exists: flags.ifExists } },
  ]
}
