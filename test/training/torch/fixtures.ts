/** Shared by the tests of the torch engine: the Python interpreter, small engines, predictable batches. */
import { execFileSync } from 'node:child_process'
import type { Engine, TrainingBatch } from '#src/training/engine'
import { toTrainingBatch } from '#src/training/engine'
import { openEngine } from '#src/training/open-engine'
import { type ModelInput, parseTraining, resolveModel, type TrainingInput } from '#src/training/options'
import { findPython } from '#src/training/torch/python'
import { countingBatch } from '../fixtures.js'

/** Undefined without torch; prints the reason, and the tests are skipped. */
export const torchPython = ((): string | undefined => {
  try {
    return findPython(undefined)
  } catch {
    process.stderr.write('The torch engine is not tested: run `node scripts/setup-python.mjs torch` first.\n')
    return undefined
  }
})()

/** torchrun and its ranks each import torch, which takes seconds on a busy machine. */
export const slow = 300_000

export const model: ModelInput = { vocab_size: 96, sequence_length: 16, layers: 2, heads: 4, width: 32, seed: 3 }

export function openSmall(
  engine: 'tfjs' | 'torch',
  nproc = 1,
  training: TrainingInput = {},
  changes: ModelInput = {},
  signal?: AbortSignal,
) {
  const options = parseTraining({ engine, ...training, torch: { nproc, device: 'cpu', ...training.torch } })
  return openEngine(options, resolveModel({ ...model, ...changes }), signal)
}

/** Closes the engine even if the test fails. */
export async function using<T>(engine: Promise<Engine>, work: (engine: Engine) => Promise<T>): Promise<T> {
  const opened = await engine
  try {
    return await work(opened)
  } finally {
    await opened.close()
  }
}

export function smallBatch(number: number, rows = 4): TrainingBatch {
  const batch = countingBatch(number, rows, 17, 96)
  return toTrainingBatch(batch.tokens, batch.rows, batch.block)
}

/** Samples of a begin token, 7, an answer of one to ten tokens and an end token, 9. */
export function talks(number: number, rows = 4): TrainingBatch {
  const batch = smallBatch(number, rows)
  for (let row = 0; row < batch.rows; row++) {
    const targets = batch.targets.subarray(row * batch.columns, (row + 1) * batch.columns)
    const length = 1 + ((3 * row + 5 * number) % 10)
    for (const [at, token] of targets.entries()) if (token === 7 || token === 9) targets[at] = 8
    targets[2] = 7
    targets[3 + length] = 9
  }
  return batch
}

/** Losses of `count` steps of two micro batches each, from step `first` on. */
export async function losses(engine: Engine, count: number, first = 0, rows = 4): Promise<number[]> {
  const found: number[] = []
  for (let step = first; step < first + count; step++) {
    const batches = [smallBatch(2 * step, rows), smallBatch(2 * step + 1, rows)]
    found.push((await engine.step(batches, 0.01)).loss)
  }
  return found
}

export function largestDifference(a: readonly number[], b: readonly number[]): number {
  return Math.max(...a.map((value, index) => Math.abs(value - b[index]!)))
}

/** Ids of the descendants of a process whose command line contains a text. */
export function descendants(pid: number, text: string): number[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' })
    .split('\n')
    .map(line => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .flatMap(match => (match === null ? [] : [{ pid: Number(match[1]), parent: Number(match[2]), args: match[3]! }]))
  const below = (parent: number): typeof rows =>
    rows.filter(row => row.parent === parent).flatMap(row => [row, ...below(row.pid)])
  return below(pid)
    .filter(row => row.args.includes(text))
    .map(row => row.pid)
}
