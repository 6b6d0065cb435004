/**
 * Joins stages. One to one is Node's own `pipe`; where a stream forks to several stages or several merge into one,
 * highland carries the batches, since it shares back-pressure: the slowest branch holds them all. This file is the only
 * one that knows highland.
 */
import { createRequire } from 'node:module'
import type { Readable, Writable } from 'node:stream'
import type { Batch } from '../formats/batches.js'

type Highland = typeof import('highland').default
let loaded: Highland | undefined

/**
 * Loaded with the first fork or merge. An import would first look through all of its CommonJS text for names to import,
 * which takes longer than running it.
 */
function loadHighland(): Highland {
  loaded ??= createRequire(import.meta.url)('highland') as Highland
  return loaded
}

interface Stoppable {
  stop?: () => void
}

/** Joins every stream of `from` to every stage of `to`; one of the two lists has one entry. */
export function join(from: readonly Readable[], to: readonly Writable[]): void {
  if (from.length === 1 && to.length === 1) from[0]!.pipe(to[0]!)
  else if (to.length === 1) merge(from, to[0]!)
  else fork(from[0]!, to)
}

/** Errors reach the runner from the stages themselves; highland need not pass them on. */
const ignoreErrors = (): void => {}

function fork(from: Readable & Stoppable, to: readonly Writable[]): void {
  const highland = loadHighland()
  const trunk = highland<Batch>(from).errors(ignoreErrors)
  const open = new Set(to)
  for (const branch of to.map(stage => ({ stage, stream: trunk.fork() }))) {
    // A stage that has enough stops what is piped into it, maybe more than once; the source stops when all branches have
    // enough.
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
  // Batches of one stream are numbered without gaps: those of several streams are numbered anew as they come.
  const merged = highland(streams)
    .merge()
    .map(batch => ({ ...batch, number: number++ }))
  const stop = (): void => {
    for (const stream of from) stream.stop?.()
  }
  Object.assign(merged, { stop })
  merged.pipe(to)
}
