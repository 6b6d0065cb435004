/** One shard of `verify`: checks its files, and fails with all that is damaged. */
import { PenstockError } from '../errors.js'
import type { ShardPlan, ShardTask } from './plan-file.js'

export type VerifyOptions = Readonly<Record<string, unknown>>
/** Checks a file or a checkpoint. @returns its damages */
export type VerifyFile = (path: string, options: VerifyOptions) => Promise<readonly PenstockError[]>

/** Damages that the error names. */
const MAX_NAMED = 5

/** Options of `verify`; undefined for the plan of a pipeline. */
export function verifyOptionsOf({ stages }: ShardPlan): VerifyOptions | undefined {
  const [step] = stages as { readonly verify?: VerifyOptions }[]
  return step?.verify
}

/** @returns the number of files. @throws FILE_DAMAGED, which names damaged files; STOPPED */
export async function verifyShard(
  { sources }: ShardTask,
  verify: VerifyFile,
  options: VerifyOptions,
  onShare: (share: number) => void,
  signal: AbortSignal | undefined,
): Promise<number> {
  const damages: PenstockError[] = []
  for (const [index, { path }] of sources.entries()) {
    if (signal?.aborted) throw new PenstockError('STOPPED', 'stopped before completion')
    damages.push(...(await verify(path, options)))
    onShare((index + 1) / sources.length)
  }
  const [first, ...others] = damages
  if (first === undefined) return sources.length
  if (others.length === 0) throw first
  const more = damages.length > MAX_NAMED ? `; and ${damages.length - MAX_NAMED} more` : ''
  const named = damages.slice(0, MAX_NAMED).map(damage => damage.toLine())
  throw new PenstockError('FILE_DAMAGED', `${damages.length} damages: ${named.join('; ')}${more}`)
}
