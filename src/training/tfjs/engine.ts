/**
 * The engine that trains in this process with TensorFlow.js. Weights and optimizer state are tensors kept by name; a step
 * makes gradients, clips them and updates. The same seed and data give the same bits on the same machine.
 */
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '../../errors.js'
import { type Backend, openBackend } from '../backends.js'
import type { Engine, EngineMemory, EvaluationResult, StepResult, TrainingBatch } from '../engine.js'
import { countTargets } from '../engine.js'
import type { BackendName, ModelOptions, OptimizerOptions } from '../options.js'
import { initialValues, type NamedTensor, type WeightSpec, weightSpecs } from '../weights.js'
import { Gradients, learn, logitsOf, lossOf } from './model.js'
import type { AdamState } from './operations.js'
import { type EngineState, modelFile, readStateFiles, readWeights, writeStateFiles } from './state-files.js'

export interface TfjsEngineOptions {
  readonly model: ModelOptions
  readonly optimizer: OptimizerOptions
  readonly gradientClip: number | null
  readonly backend: BackendName
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
  readonly #specs: readonly WeightSpec[]
  #states: Map<string, AdamState>

  constructor(options: TfjsEngineOptions, backend: Backend) {
    this.#options = options
    this.#backend = backend
    this.#specs = weightSpecs(options.model)
    this.#states = new Map(
      this.#specs.map(spec => [spec.name, freshState(spec, initialValues(spec, options.model.seed))]),
    )
  }

  /** There is no other process to disagree with. */
  async agree(): Promise<void> {}

  async step(microBatches: readonly TrainingBatch[], learningRate: number): Promise<StepResult> {
    await this.#backend.activate()
    const counted = microBatches.reduce((sum, batch) => sum + countTargets(batch), 0)
    // A step without a single target leaves a gradient of zero, not of NaN.
    const scale = 1 / Math.max(1, counted)
    const gradients = new Gradients()
    const losses = microBatches.map(batch => tf.tidy(() => this.#learn(batch, scale, gradients)))
    const norm = this.#update(gradients, learningRate)
    const sums = await Promise.all(losses.map(async loss => (await loss.data())[0]!))
    const gradientNorm = (await norm.data())[0]!
    tf.dispose([norm, ...losses])
    return { loss: sums.reduce((total, sum) => total + sum, 0) * scale, gradientNorm }
  }

  async evaluate(batch: TrainingBatch): Promise<EvaluationResult> {
    await this.#backend.activate()
    const { model } = this.#options
    const loss = tf.tidy(() => lossOf(model, this.#weights(), this.#backend.operations, batch))
    const lossSum = (await loss.data())[0]!
    loss.dispose()
    return { lossSum, tokens: countTargets(batch) }
  }

  async nextTokenLogits(ids: Int32Array): Promise<Float32Array> {
    await this.#backend.activate()
    const { model } = this.#options
    const last = tf.tidy(() => {
      const batch = { inputs: ids, rows: 1, columns: ids.length }
      const logits = logitsOf(model, this.#weights(), this.#backend.operations, batch)
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
    this.#dispose()
  }

  #weights(): Map<string, tf.Tensor> {
    return new Map([...this.#states].map(([name, state]) => [name, state.weight]))
  }

  #learn(batch: TrainingBatch, scale: number, gradients: Gradients): tf.Scalar {
    return learn(this.#options.model, this.#weights(), this.#backend.operations, batch, scale, gradients)
  }

  /** Takes over the gradients; gives back their norm. */
  #update(gradients: Gradients, learningRate: number): tf.Scalar {
    const { optimizer, gradientClip } = this.#options
    const { operations } = this.#backend
    const ordered = this.#specs.map(spec => gradients.byName.get(spec.name)!)
    const clipped = operations.clip(ordered, gradientClip)
    this.stepsTaken++
    this.#specs.forEach((spec, index) => {
      const state = operations.adamW(this.#states.get(spec.name)!, clipped.gradients[index]!, {
        learningRate,
        beta1: optimizer.betas[0],
        beta2: optimizer.betas[1],
        eps: optimizer.eps,
        weightDecay: optimizer.weight_decay_groups_excluded.includes(spec.group) ? 0 : optimizer.weight_decay,
        update: this.stepsTaken,
      })
      this.#states.set(spec.name, state)
    })
    tf.dispose(clipped.gradients as tf.Tensor[])
    return clipped.norm
  }

  #dispose(): void {
    for (const { weight, mean, variance } of this.#states.values()) {
      tf.dispose([weight, mean, variance])
    }
    this.#states.clear()
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
