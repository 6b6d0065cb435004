/** Selects the shards that this process runs: from `--shard i/n`, or from the environment that a scheduler sets. */
import { PenstockError } from '../errors.js'
import type { Pass } from './plan-file.js'

/** Task `index` of `count`: it runs the shards index, index + count, index + 2 count ... */
export interface ShardSelection {
  readonly index: number
  readonly count: number
}

export type Environment = Readonly<Record<string, string | undefined>>

/** `3/12` @throws ARGUMENT_INVALID */
export function parseSelection(text: string): ShardSelection {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text) ?? []
  return checked(Number(index), Number(count), `--shard ${text}`)
}

/**
 * @param shards number of shards of the plan, for schedulers that do not tell the number of tasks
 * @returns undefined outside of a scheduler: then all shards
 * @throws ARGUMENT_INVALID
 */
export function selectionFrom(environment: Environment, shards: number): ShardSelection | undefined {
  const number = (name: string): number | undefined => {
    const text = environment[name]
    return text === undefined || text === '' ? undefined : Number(text)
  }
  for (const prefix of ['PENSTOCK_SHARD_INDEX', 'SLURM_ARRAY_TASK_ID', 'JOB_COMPLETION_INDEX']) {
    const id = number(prefix)
    if (id === undefined) continue
    const family = prefix === 'SLURM_ARRAY_TASK_ID' ? 'SLURM_ARRAY_TASK' : 'PENSTOCK_SHARD'
    const {
      min = 0,
      step = 1,
      count = shards,
    } = {
      ...defined('min', number(`${family}_MIN`)),
      ...defined('step', number(`${family}_STEP`)),
      ...defined('count', number(`${family}_COUNT`)),
    }
    return checked((id - min) / step, count, `${prefix}=${id}`)
  }
  return undefined
}

const defined = (key: string, value: number | undefined): Readonly<Record<string, number>> =>
  value === undefined ? {} : { [key]: value }

function checked(index: number, count: number, origin: string): ShardSelection {
  if (Number.isSafeInteger(index) && Number.isSafeInteger(count) && index >= 0 && index < count) return { index, count }
  const message = `expected the number of a task below their count, such as 3/12, found ${origin}`
  throw new PenstockError('ARGUMENT_INVALID', message)
}

/** The shards of a selection, within one pass. */
export function shardsOf({ index, count }: ShardSelection, { first, end }: Pass): number[] {
  const turns = Math.max(0, Math.ceil((end - first - index) / count))
  return Array.from({ length: turns }, (_, turn) => first + index + turn * count)
}
