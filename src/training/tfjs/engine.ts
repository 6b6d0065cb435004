/**
 * The engine that trains in this process with TensorFlow.js. Weights and optimizer state are tensors kept by name; a step
 * makes gradients, clips them and updates. The same seed and data give the same bits on the same machine.
 */
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '../../errors.js'
import { type Backend, openBackend } from '../backends.js'
import type { Engine, EngineMemory, EvaluationResult, StepResult, TrainingBatch } from '../engine.js'
import { countTargets, requireFit, rowsByWeight } from '../engine.js'
import type { BackendName, ModelOptions, OptimizerOptions } from '../options.js'
import { initialValues, type NamedTensor, viewsOf, type WeightSpec, weightSpecs } from '../weights.js'
import { GradientThreads } from './gradient-threads.js'
import { Gradients, learn, logitsOf, lossOf } from './model.js'
import type { AdamState, Operations } from './operations.js'
import { type EngineState, modelFile, readStateFiles, readWeights, writeStateFiles } from './state-files.js'
import { heapView } from './wasm-kernels.js'

export interface TfjsEngineOptions {
  readonly model: ModelOptions
  readonly optimizer: OptimizerOptions
  readonly gradientClip: number | null
  readonly backend: BackendName
  /** Threads that share the rows of a micro batch, this one included; only with wasm. */
  readonly threads: number
}

/** @throws PEER_MISSING, BACKEND_UNAVAILABLE */
export async function openTfjsEngine(options: TfjsEngineOptions): Promise<TfjsEngine> {
  return new TfjsEngine(options, await openBackend(options.backend))
}

export class TfjsEngine implements Engine {
  stepsTaken = 0
  readonly maxStepsInFlight = 1
  readonly leads = true
  readonly #options: TfjsEngineOptions
  readonly #backend: Backend
  readonly #operations: Operations
  readonly #specs: readonly WeightSpec[]
  readonly #threads: GradientThreads | undefined
  #states: Map<string, AdamState>

  constructor(options: TfjsEngineOptions, backend: Backend) {
    this.#options = options
    this.#backend = backend
    this.#operations = backend.operationsFor(options.model)
    this.#specs = weightSpecs(options.model)
    this.#threads =
      options.threads > 1 && options.backend === 'wasm'
        ? new GradientThreads(options.model, options.threads - 1)
        : undefined
    this.#states = new Map(
      this.#specs.map(spec => [spec.name, freshState(spec, initialValues(spec, options.model.seed))]),
    )
  }

  /** There is no other process to disagree with. */
  async agree(): Promise<void> {}

  async step(microBatches: readonly TrainingBatch[], learningRate: number): Promise<StepResult> {
    for (const batch of microBatches) {
      requireFit(batch, this.#options.model)
    }
    await this.#backend.activate()
    const gradients = new Gradients()
    let loss = 0
    for (const { weight, batches } of rowsByWeight(microBatches)) {
      loss += (await this.#learn(batches, weight, gradients)) * weight
    }
    const norm = this.#update(gradients, learningRate)
    const gradientNorm = (await norm.data())[0]!
    norm.dispose()
    return { loss, gradientNorm }
  }

  async evaluate(batch: TrainingBatch): Promise<EvaluationResult> {
    const { model } = this.#options
    requireFit(batch, model)
    await this.#backend.activate()
    const loss = tf.tidy(() => lossOf(model, this.#weights(), this.#operations, batch))
    const lossSum = (await loss.data())[0]!
    loss.dispose()
    return { lossSum, tokens: countTargets(batch) }
  }

  async nextTokenLogits(ids: Int32Array): Promise<Float32Array> {
    const { model } = this.#options
    const batch = { inputs: ids, targets: ids, rows: 1, columns: ids.length }
    requireFit(batch, model)
    await this.#backend.activate()
    const last = tf.tidy(() => {
      const logits = logitsOf(model, this.#weights(), this.#operations, batch)
      return tf.slice(logits, [ids.length - 1, 0], [1, model.vocab_size])
    })
    const values = await last.data<'float32'>()
    last.dispose()
    return values
  }

  async exportState(): Promise<EngineState> {
    const read = async (part: keyof AdamState) => {
      const entries = [...this.#states].map(async ([name, state]): Promise<[string, NamedTensor]> => {
        return [name, { shape: state[part].shape, values: await state[part].data<'float32'>() }]
      })
      return new Map(await Promise.all(entries))
    }
    return {
      stepsTaken: this.stepsTaken,
      weights: await read('weight'),
      means: await read('mean'),
      variances: await read('variance'),
    }
  }

  /** @throws WORLD_MISMATCH when a tensor is missing, unknown or of another shape */
  async importState(state: EngineState): Promise<void> {
    await this.#backend.activate()
    for (const tensors of [state.weights, state.means, state.variances]) {
      requireSameTensors(this.#specs, tensors)
    }
    this.#dispose()
    this.#states = new Map(
      this.#specs.map(({ name }) => [
        name,
        {
          weight: keptTensor(state.weights.get(name)!),
          mean: keptTensor(state.means.get(name)!),
          variance: keptTensor(state.variances.get(name)!),
        },
      ]),
    )
    this.stepsTaken = state.stepsTaken
  }

  async saveState(folder: string): Promise<readonly string[]> {
    return writeStateFiles(folder, await this.exportState())
  }

  async loadState(folder: string): Promise<void> {
    await this.importState(await readStateFiles(folder))
  }

  async loadWeights(folder: string): Promise<void> {
    const weights = await readWeights(join(folder, modelFile))
    const zeros = new Map(
      [...weights].map(([name, { shape, values }]) => [name, { shape, values: new Float32Array(values.length) }]),
    )
    await this.importState({ stepsTaken: 0, weights, means: zeros, variances: zeros })
  }

  memory(): EngineMemory {
    const { numTensors, numBytes } = tf.memory()
    return { tensors: numTensors, bytes: numBytes }
  }

  async close(): Promise<void> {
    await this.#threads?.close()
    this.#dispose()
  }

  #weights(): Map<string, tf.Tensor> {
    return new Map([...this.#states].map(([name, state]) => [name, state.weight]))
  }

  /** Adds up the gradients of the micro batches; returns the sum of their losses. */
  async #learn(microBatches: readonly TrainingBatch[], scale: number, gradients: Gradients): Promise<number> {
    const { model } = this.#options
    const weights = this.#weights()
    const shared = this.#threads && this.#startThreads(this.#threads, microBatches, scale)
    const losses = (shared?.own ?? microBatches).map(batch =>
      tf.tidy(() => learn(model, weights, this.#operations, batch, scale, gradients)),
    )
    const sums = await Promise.all(losses.map(async loss => (await loss.data())[0]!))
    tf.dispose(losses)
    for (const { lossSum, values } of (await shared?.others) ?? []) {
      sums.push(lossSum)
      this.#addAll(values, gradients)
    }
    return sums.reduce((total, sum) => total + sum, 0)
  }

  #startThreads(threads: GradientThreads, microBatches: readonly TrainingBatch[], scale: number) {
    const views = viewsOf(this.#specs, threads.weights)
    for (const [name, { weight }] of this.#states) {
      views.get(name)!.set(heapView(weight))
    }
    return threads.start(microBatches, scale)
  }

  /** Adds gradients that a thread has left one after the other. */
  #addAll(values: Float32Array, gradients: Gradients): void {
    for (const [name, view] of viewsOf(this.#specs, values)) {
      const own = gradients.byName.get(name)
      if (own === undefined) {
        gradients.add(name, tf.tensor(view, this.#states.get(name)!.weight.shape, 'float32'))
      } else {
        addTo(heapView(own), view)
      }
    }
  }

  /** Takes over the gradients; gives back their norm. */
  #update(gradients: Gradients, learningRate: number): tf.Scalar {
    const { optimizer, gradientClip } = this.#options
    this.stepsTaken++
    const weights = this.#specs.map(spec => ({
      state: this.#states.get(spec.name)!,
      gradient: gradients.byName.get(spec.name)!,
      weightDecay: optimizer.weight_decay_groups_excluded.includes(spec.group) ? 0 : optimizer.weight_decay,
    }))
    const { betas, eps } = optimizer
    const hyper = { learningRate, betas, eps, update: this.stepsTaken, clip: gradientClip }
    const { norm, states } = this.#operations.adamW(weights, hyper)
    this.#specs.forEach((spec, index) => {
      this.#states.set(spec.name, states[index]!)
    })
    return norm
  }

  #dispose(): void {
    for (const { weight, mean, variance } of this.#states.values()) {
      tf.dispose([weight, mean, variance])
    }
    this.#states.clear()
  }
}

function addTo(sums: Float32Array, terms: Float32Array): void {
  for (let index = 0; index < sums.length; index++) {
    sums[index] = sums[index]! + terms[index]!
  }
}

function freshState(spec: WeightSpec, values: Float32Array): AdamState {
  const zeros = () => keptTensor({ shape: spec.shape, values: new Float32Array(values.length) })
  return { weight: keptTensor({ shape: spec.shape, values }), mean: zeros(), variance: zeros() }
}

function keptTensor({ shape, values }: NamedTensor): tf.Tensor {
  // A copy: the cpu backend keeps the array it is given.
  return tf.tensor(values.slice(), [...shape], 'float32')
}

function requireSameTensors(specs: readonly WeightSpec[], tensors: ReadonlyMap<string, NamedTensor>): void {
  for (const { name, shape } of specs) {
    const found = tensors.get(name)
    if (found === undefined || found.shape.join() !== shape.join()) {
      const what = found === undefined ? 'is missing' : `has shape [${found.shape}], expected [${shape}]`
      throw new PenstockError('WORLD_MISMATCH', `the state belongs to another model: ${name} ${what}`)
    }
  }
  if (tensors.size !== specs.length) {
    const known = new Set(specs.map(spec => spec.name))
    const unknown = [...tensors.keys()].find(name => !known.has(name))
    throw new PenstockError('WORLD_MISMATCH', `the state belongs to another model: it has ${unknown}`)
  }
}
