/**
 * Connects stages. A single stream uses Node's `pipe`; forks and merges use highland because it shares backpressure: the
 * slowest branch throttles all of them. No other file imports highland.
 */
import { createRequire } from 'node:module'
import type { Readable, Writable } from 'node:stream'
import type { Batch } from '../formats/batches.js'

type Highland = typeof import('highland').default
let loaded: Highland | undefined

/**
 * Loaded at the first fork or merge, with `require`: `import` scans the CommonJS source for export names, which takes
 * longer than running it.
 */
function loadHighland(): Highland {
  loaded ??= createRequire(import.meta.url)('highland') as Highland
  return loaded
}

interface Stoppable {
  stop?: () => void
}

/** Connects every stream of `from` to every stage of `to`; one of the two lists has a single entry. */
export function join(from: readonly Readable[], to: readonly Writable[]): void {
  if (from.length === 1 && to.length === 1) from[0]!.pipe(to[0]!)
  else if (to.length === 1) merge(from, to[0]!)
  else fork(from[0]!, to)
}

/** The runner receives errors from the stages directly; highland need not forward them. */
const ignoreErrors = (): void => {}

function fork(from: Readable & Stoppable, to: readonly Writable[]): void {
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

function merge(from: readonly (Readable & Stoppable)[], to: Writable): void {
  const highland = loadHighland()
  const streams = from.map(stream => highland<Batch>(stream).errors(ignoreErrors))
  let number = 0
  // Each input numbers its own batches from 0, so merged batches are renumbered in the order of arrival.
  const merged = highland(streams)
    .merge()
    .map(batch => ({ ...batch, number: number++ }))
  const stop = (): void => {
    for (const stream of from) stream.stop?.()
  }
  Object.assign(merged, { stop })
  merged.pipe(to)
}
