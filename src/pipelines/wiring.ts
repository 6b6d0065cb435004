/**
 * Connects stages. A single stream uses Node's `pipe`; forks use highland because it shares backpressure: the slowest
 * branch throttles all of them. No other file imports highland.
 */
import { createRequire } from 'node:module'
import { type Readable, Transform, type Writable } from 'node:stream'
import type { Batch } from '../formats/batches.js'

type Highland = typeof import('highland').default
let loaded: Highland | undefined

/**
 * Loaded at the first fork, with `require`: `import` scans the CommonJS source for export names, which takes
 * longer than running it.
 */
function loadHighland(): Highland {
  loaded ??= createRequire(import.meta.url)('highland') as Highland
  return loaded
}

interface Stoppable {
  stop?: () => void
}

/** The runner receives errors from the stages directly; highland need not forward them. */
const ignoreErrors = (): void => {}

/** Sends every batch to each of several stages. */
export function fork(from: Readable & Stoppable, to: readonly Writable[]): void {
  const highland = loadHighland()
  const trunk = highland<Batch>(from).errors(ignoreErrors)
  const open = new Set(to)
  for (const branch of to.map(stage => ({ stage, stream: trunk.fork() }))) {
    // A stage that needs no more input calls `stop` on its input, possibly repeatedly. The source stops once all branches
    // have done so.
    const stop = (): void => {
      open.delete(branch.stage)
      if (open.size === 0) from.stop?.()
    }
    Object.assign(branch.stream, { stop })
    branch.stream.pipe(branch.stage)
  }
}

/** One input of a merge. */
export interface MergeInput {
  readonly stages: readonly (Readable | Writable)[]
  /** Connects the stages, which makes the first one read. @returns the last one */
  readonly start: () => Readable
}

/**
 * Concatenates the inputs in their order. Each is started when the previous one has ended, so that the result does not
 * depend on timing and a single input has files open. Each input numbers its own batches from 0; the result renumbers them.
 */
export function merge(inputs: readonly MergeInput[]): Readable {
  let number = 0
  let started = 0
  let stopped = false
  let current: Readable & Stoppable
  const merged = new Transform({
    objectMode: true,
    highWaterMark: 1,
    transform: (batch: Batch, _encoding, done) => done(null, { ...batch, number: number++ }),
  })
  const startNext = (): void => {
    if (stopped || started === inputs.length) {
      merged.end()
      return
    }
    current = inputs[started++]!.start()
    current.once('end', startNext)
    current.pipe(merged, { end: false })
  }
  const stop = (): void => {
    stopped = true
    current.stop?.()
    for (const { stages } of inputs.slice(started)) for (const stage of stages) stage.destroy()
  }
  startNext()
  return Object.assign(merged, { stop })
}
