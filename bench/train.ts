/**
 * Speed of a training step on wasm: the stock kernels and ours, in one run, on the same weights and batches.
 * Run it after a build: `npx jiti bench/train.ts`.
 */
import * as tf from '@tensorflow/tfjs-core'
import { type Backend, openBackend } from '#src/training/backends'
import { type ModelInput, parseTraining, resolveModel } from '#src/training/options'
import { openTfjsEngine } from '#src/training/tfjs/engine'
import { composedOperations } from '#src/training/tfjs/operations'
import { registerWasmKernels } from '#src/training/tfjs/wasm-kernels'
import { uniformGenerator } from '#src/training/weights'

const shapes = [
  { vocab_size: 512, sequence_length: 128, batch: 8 },
  { vocab_size: 4096, sequence_length: 64, batch: 4 },
]
const common: ModelInput = { layers: 2, heads: 4, width: 128, ffn_width: 256 }
const { optimizer } = parseTraining({})

/** Seconds of the fastest step: other programs may slow the rest. */
async function secondsPerStep(
  backend: Backend,
  shape: (typeof shapes)[number],
  steps: number,
  threads: number,
): Promise<number> {
  const { batch: rows, ...widths } = shape
  const model = resolveModel({ ...common, ...widths })
  const engine = await openTfjsEngine({ model, optimizer, gradientClip: 1, backend: 'wasm', threads }, backend)
  const draw = uniformGenerator('bench')
  const ids = () =>
    Int32Array.from({ length: rows * model.sequence_length }, () => Math.floor(draw() * model.vocab_size))
  const batch = { inputs: ids(), targets: ids(), rows, columns: model.sequence_length }
  const times: number[] = []
  for (let step = 0; step < steps + 2; step++) {
    const startedAt = performance.now()
    await engine.step([batch], 1e-3)
    times.push((performance.now() - startedAt) / 1000)
  }
  await engine.close()
  return Math.min(...times.slice(2))
}

/** What runs without our kernels: the stock product, and embeddings by one-hot products for want of a segment sum. */
function stockBackend(ours: Backend): Backend {
  const operations = {
    ...composedOperations,
    embedGradient: (gradient: tf.Tensor2D, ids: tf.Tensor1D, rows: number) =>
      tf.tidy(() => tf.matMul<tf.Tensor2D>(tf.cast(tf.oneHot(ids, rows), 'float32'), gradient, true, false)),
  }
  return { ...ours, operationsFor: () => operations }
}

const ours = await openBackend('wasm')
for (const shape of shapes) {
  const tokens = shape.batch * shape.sequence_length
  registerWasmKernels()()
  const stock = tokens / (await secondsPerStep(stockBackend(ours), shape, 3, 1))
  registerWasmKernels()
  const one = tokens / (await secondsPerStep(ours, shape, 20, 1))
  const two = tokens / (await secondsPerStep(ours, shape, 20, 2))
  console.log(
    `V=${shape.vocab_size} T=${shape.sequence_length} B=${shape.batch} C=128 L=2, tokens/s:`,
    `stock ${stock.toFixed(0)}, ours ${one.toFixed(0)} (ratio ${(one / stock).toFixed(1)}),`,
    `ours with two threads ${two.toFixed(0)} (ratio ${(two / stock).toFixed(1)})`,
  )
}
