/**
 * Self-test of a native backend: a matrix product with a known result, and training steps of a tiny model that must reduce
 * the loss. Run as a program; arguments: kind and folder of the backend.
 */
import * as tf from '@tensorflow/tfjs-core'
import { toTrainingBatch } from '../../engine.js'
import { parseTraining, resolveModel } from '../../options.js'
import { openTfjsEngine } from '../engine.js'
import { registerNativeBackend } from '../native-backend.js'
import type { NativeKind } from './recipe.js'

const [kind, folder] = process.argv.slice(2) as [NativeKind, string]
const { binding } = registerNativeBackend(kind, folder, false)
const model = resolveModel({ vocab_size: 16, sequence_length: 8, layers: 1, heads: 2, width: 16, ffn_width: 32 })
const { optimizer } = parseTraining({})
const engine = await openTfjsEngine({ model, optimizer, gradientClip: 1, backend: kind, threads: 1 })

const product = await tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2])).data()
if (product.join() !== '19,22,43,50') {
  throw new Error(`wrong matrix product: ${product}`)
}
const batch = toTrainingBatch(
  Int32Array.from({ length: 18 }, (_, index) => index % 5),
  2,
  9,
)
const losses: number[] = []
for (let step = 0; step < 5; step++) {
  losses.push((await engine.step([batch], 1e-2)).loss)
}
if (!(losses.at(-1)! < losses[0]!)) {
  throw new Error(`training does not reduce the loss: ${losses}`)
}
await engine.close()
const device = binding.isUsingGpuDevice() ? 'on a GPU' : 'on the CPU'
process.stderr.write(`TensorFlow ${binding.TF_Version} computes ${device}.\n`)
