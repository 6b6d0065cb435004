/**
 * A thread that computes gradients of its share of the rows: it reads the weights from shared memory, learns, leaves the
 * gradients in shared memory and answers with its loss. It knows no optimizer: the engine's own thread updates.
 */
import { parentPort, workerData } from 'node:worker_threads'
import * as tf from '@tensorflow/tfjs-core'
import { openBackend } from '../backends.js'
import { viewsOf, weightSpecs } from '../weights.js'
import type { GradientAnswer, GradientTask, GradientWorkerData } from './gradient-threads.js'
import { Gradients, learn } from './model.js'
import { heapView } from './wasm-kernels.js'

const { model, weights, gradients } = workerData as GradientWorkerData
const specs = weightSpecs(model)
const backend = await openBackend('wasm')
const operations = backend.operationsFor(model)
const sharedWeights = viewsOf(specs, new Float32Array(weights))
const sharedGradients = viewsOf(specs, new Float32Array(gradients))

const tensors = new Map(specs.map(({ name, shape }) => [name, tf.zeros([...shape])]))

function compute({ batches, scale }: GradientTask): GradientAnswer {
  for (const [name, tensor] of tensors) {
    heapView(tensor).set(sharedWeights.get(name)!)
  }
  const learnt = new Gradients()
  const lossSum = batches.reduce((sum, batch) => {
    return sum + tf.tidy(() => learn(model, tensors, operations, batch, scale, learnt).dataSync()[0]!)
  }, 0)
  for (const [name, gradient] of learnt.byName) {
    sharedGradients.get(name)!.set(heapView(gradient))
    gradient.dispose()
  }
  return { lossSum }
}

parentPort!.on('message', (task: GradientTask) => {
  try {
    parentPort!.postMessage(compute(task))
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    parentPort!.postMessage({ message } satisfies GradientAnswer)
  }
})
