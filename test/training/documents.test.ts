import * as tf from '@tensorflow/tfjs-core'
import { describe, expect, test } from 'vitest'
import type { SampleBatch } from '#src/formats/batches'
import { startsAfterToken } from '#src/sampling/document-starts'
import { batchOfSamples } from '#src/training/documents'
import { countTargets, ignoredTarget, rowsByWeight, type TrainingBatch } from '#src/training/engine'
import type { ModelInput, ModelOptions } from '#src/training/options'
import { accumulateGradients, Gradients } from '#src/training/tfjs/model'
import type { Operations } from '#src/training/tfjs/operations'
import { weightSpecs } from '#src/training/weights'
import { countingBatch, initialValues, openTiny, tiny } from './fixtures.js'
import { operationSets } from './tfjs/backends.js'

const BLOCK = 101
const masked = { restart_positions: false, ignore_first_targets: true }

/** Two rows of three and two documents; the boundaries are inside and on the edges of the kernels' blocks. */
const FIRSTS = [
  [0, 37, 61],
  [0, 48],
]

function joined(firsts: readonly (readonly number[])[] = FIRSTS): SampleBatch {
  const samples = countingBatch(5, firsts.length, BLOCK)
  const starts = firsts.flatMap(row => Array.from({ length: BLOCK }, (_, place) => row.findLast(at => at <= place)!))
  return { ...samples, starts: Int32Array.from(starts) }
}

/** Each document of the samples in a row of its own, padded. */
function apart(samples: SampleBatch): SampleBatch {
  const documents = FIRSTS.flatMap((firsts, row) =>
    firsts.map((first, at) => samples.tokens.slice(row * BLOCK + first, row * BLOCK + (firsts[at + 1] ?? BLOCK))),
  )
  const tokens = new Int32Array(documents.length * BLOCK)
  for (const [row, document] of documents.entries()) tokens.set(document, row * BLOCK)
  const lengths = Int32Array.from(documents, document => document.length)
  const { starts: _, ...rest } = samples
  return { ...rest, tokens, lengths, rows: documents.length }
}

function lossAndGradients(model: ModelOptions, operations: Operations, batch: TrainingBatch) {
  const weights = new Map(
    weightSpecs(model).map(spec => [spec.name, tf.tensor(initialValues(spec, 1), [...spec.shape])]),
  )
  const gradients = new Gradients()
  const scale = 1 / countTargets(batch)
  const sum = tf.tidy(() => accumulateGradients(model, weights, operations, batch, scale, gradients).dataSync()[0]!)
  const values = [...gradients.byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, slope]) => [...slope.dataSync()])
  tf.dispose([...weights.values(), ...gradients.byName.values()])
  return { loss: sum * scale, gradients: values.flat() }
}

function largestDifference(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length)
  return a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - b[index]!)), 0)
}

const model = (changes: ModelInput) => tiny({ sequence_length: BLOCK - 1, init_std: 0.1, ...changes })
const sets = await operationSets(model({}))

describe.each(sets)('on $label', ({ backend, operations }) => {
  const restarting = { restart_positions: true, ignore_first_targets: true }
  const variants = [
    ['rotary positions', {}, masked],
    ['rotary positions that restart, shared key heads', { kv_heads: 1 }, restarting],
    ['learned positions that restart', { position: 'learned' }, restarting],
  ] as const

  test.each(variants)('documents of one row have the loss and gradients of each alone: %s', async (_, changes, how) => {
    await backend.activate()
    const samples = joined()
    const together = lossAndGradients(model(changes), operations, batchOfSamples(samples, how))
    const none = { restart_positions: false, ignore_first_targets: false }
    const alone = lossAndGradients(model(changes), operations, batchOfSamples(apart(samples), none))
    expect(Math.abs(together.loss - alone.loss)).toBeLessThan(1e-6)
    expect(largestDifference(together.gradients, alone.gradients)).toBeLessThan(1e-6)
  })

  test.each(variants)('a row of one document has the bits of an unmasked one: %s', async (_, changes, how) => {
    await backend.activate()
    const samples = joined([[0], [0]])
    const batch = batchOfSamples(samples, how)
    const { documents, ...unmasked } = batch
    expect(documents).toBeDefined()
    const found = lossAndGradients(model(changes), operations, batch)
    expect(found).toEqual(lossAndGradients(model(changes), operations, unmasked))
  })
})

test('a run with graphs, threads or single operations has the same losses for masked documents', async () => {
  const batches = [0, 1, 2].map(number => {
    const samples = countingBatch(number, 4)
    return batchOfSamples(
      { ...samples, starts: startsAfterToken(samples.tokens, 9, 5) },
      { ...masked, restart_positions: true },
    )
  })
  const run = async (changes: Parameters<typeof openTiny>[1], backend: Parameters<typeof openTiny>[2] = 'wasm') => {
    const engine = await openTiny({}, changes, backend)
    const losses: number[] = []
    for (const batch of batches) losses.push((await engine.step([batch], 1e-2)).loss)
    await engine.close()
    return losses
  }
  const expected = await run({})
  const installed = new Set(sets.map(({ backend }) => backend.name))
  for (const found of [
    await run({ threads: 3 }),
    await run({}, 'cpu'),
    ...(installed.has('node') ? [await run({}, 'node')] : []),
  ]) {
    expect(largestDifference(found, expected)).toBeLessThan(1e-5)
  }
})

test('the first token of a document is no target, and padding is none', () => {
  const samples: SampleBatch = {
    ...countingBatch(0, 1, 6),
    tokens: Int32Array.of(1, 2, 9, 3, 4, 0),
    starts: Int32Array.of(0, 0, 0, 3, 3, 5),
    lengths: Int32Array.of(5),
  }
  const batch = batchOfSamples(samples, { restart_positions: true, ignore_first_targets: true })
  expect([...batch.targets]).toEqual([2, 9, ignoredTarget, 4, ignoredTarget])
  expect(batch.documents).toEqual({ starts: Int32Array.of(0, 0, 0, 3, 3), restartPositions: true })
  const kept = batchOfSamples(samples, { restart_positions: false, ignore_first_targets: false })
  expect([...kept.targets]).toEqual([2, 9, 3, 4, ignoredTarget])
})

test('options for documents are rejected for samples without document starts', () => {
  for (const path of ['restart_positions', 'ignore_first_targets'] as const) {
    const options = { restart_positions: false, ignore_first_targets: false, [path]: true }
    expect(() => batchOfSamples(countingBatch(0, 2), options)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', where: { path } }),
    )
  }
})

test('document starts that the kernels cannot use are rejected', async () => {
  const engine = await openTiny()
  const batch = batchOfSamples({ ...countingBatch(0, 1), starts: new Int32Array(9) }, masked)
  for (const starts of [
    Int32Array.of(0, 2, 2, 2, 2, 2, 2, 2),
    Int32Array.of(0, 1, 0, 0, 0, 0, 0, 0),
    new Int32Array(7),
  ]) {
    const documents = { starts, restartPositions: false }
    await expect(engine.step([{ ...batch, documents }], 1e-2)).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' })
  }
  await engine.close()
})

test('grouping rows by weight keeps their documents', () => {
  const batch = batchOfSamples(
    { ...countingBatch(0, 2), starts: startsAfterToken(countingBatch(0, 2).tokens, 9, 5) },
    masked,
  )
  const groups = rowsByWeight([{ ...batch, weights: Float64Array.of(0.5, 0.25) }])
  const rows = groups.map(({ batches }) => [...batches[0]!.documents!.starts])
  expect(rows).toEqual([[...batch.documents!.starts.subarray(0, 8)], [...batch.documents!.starts.subarray(8)]])
})
