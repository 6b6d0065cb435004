/** The shards of a task, from the command line and from the environment of each scheduler. */
import { describe, expect, it } from 'vitest'
import { FAULTY_INPUT, MISCONFIGURED, shardExitCode, TRY_AGAIN } from '#src/cluster/exit-codes'
import { parseSelection, selectionFrom, shardsOf } from '#src/cluster/shard-selection'
import { type ErrorCode, PenstockError } from '#src/errors'

describe('the shards of a task', () => {
  it('come from the environment of the scheduler', () => {
    const slurm = { SLURM_ARRAY_TASK_ID: '14', SLURM_ARRAY_TASK_MIN: '10', SLURM_ARRAY_TASK_STEP: '2' }
    const environments = [
      [{}, undefined],
      [
        { ...slurm, SLURM_ARRAY_TASK_COUNT: '4' },
        { index: 2, count: 4 },
      ],
      [{ JOB_COMPLETION_INDEX: '3' }, { index: 3, count: 9 }],
      [
        { JOB_COMPLETION_INDEX: '3', PENSTOCK_SHARD_COUNT: '5' },
        { index: 3, count: 5 },
      ],
      [
        { ...slurm, PENSTOCK_SHARD_INDEX: '1', PENSTOCK_SHARD_COUNT: '2' },
        { index: 1, count: 2 },
      ],
    ] as const
    expect(environments.map(([environment]) => selectionFrom(environment, 9))).toEqual(
      environments.map(([, selection]) => selection),
    )
  })

  it('cover every shard once', () => {
    const tasks = [0, 1, 2, 3].map(index => shardsOf({ index, count: 4 }, { first: 0, end: 10 }))
    expect(tasks[1]).toEqual([1, 5, 9])
    expect(tasks.flat().toSorted((a, b) => a - b)).toEqual([...Array(10).keys()])
    expect(shardsOf({ index: 11, count: 12 }, { first: 0, end: 10 })).toEqual([])
    expect(shardsOf({ index: 1, count: 4 }, { first: 10, end: 20 })).toEqual([11, 15, 19])
  })

  it('are rejected when they are none', () => {
    for (const text of ['3', '3/3', '-1/3', 'a/b', '1/0']) {
      expect(() => parseSelection(text)).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' }))
    }
    expect(() => selectionFrom({ SLURM_ARRAY_TASK_ID: 'x' }, 3)).toThrow(PenstockError)
  })
})

describe('the exit code of a shard', () => {
  it('tells whether a retry can succeed', () => {
    const codeOf = (code: ErrorCode): number => shardExitCode(new PenstockError(code, 'failed'))
    expect((['JSON_INVALID', 'FIELD_MISSING', 'FILE_CHANGED', 'TOO_MANY_FAULTS'] as const).map(codeOf)).toEqual(
      Array(4).fill(FAULTY_INPUT),
    )
    expect((['FILE_UNWRITABLE', 'FILE_LOCKED', 'WORKER_DIED', 'STOPPED'] as const).map(codeOf)).toEqual(
      Array(4).fill(TRY_AGAIN),
    )
    expect(codeOf('ARGUMENT_INVALID')).toBe(MISCONFIGURED)
    expect(shardExitCode(new Error('no such function'))).toBe(TRY_AGAIN)
  })
})
