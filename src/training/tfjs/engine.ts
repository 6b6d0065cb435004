/**
 * Training engine on TensorFlow.js, in this process. A learner holds weights and optimizer state and computes the steps;
 * the engine checks its input and imports and exports the state. The same seed and data give the same bits on the same
 * machine. TensorFlow.js is loaded where it computes: loading it takes about 0.4 s, in which a thread does nothing else.
 */
import { join } from 'node:path'
import { PenstockError } from '../../errors.js'
import { yieldIfDue } from '../../files/event-loop.js'
import type { Engine, EngineMemory, EvaluationResult, StepLimits, StepResult, TrainingBatch } from '../engine.js'
import { countTargets, isWithin, requireFit, rowsByWeight } from '../engine.js'
import type { BackendName, ModelOptions, OptimizerOptions } from '../options.js'
import { modelFile, valuesOf } from '../tensor-files.js'
import { initialPieces, type NamedTensor, type WeightSpec, weightSpecs } from '../weights.js'
import type { Backend } from './backends.js'
import { readKernels } from './kernel-files.js'
import type { Learner } from './learner.js'
import { LearnerThread } from './learner-thread.js'
import { type EngineState, readStateFiles, readWeights, writeStateFiles, zerosLike } from './state-files.js'
import { openThreadedLearner } from './threaded-learner.js'

export interface TfjsEngineOptions {
  readonly model: ModelOptions
  readonly optimizer: OptimizerOptions
  readonly gradientClip: number | null
  readonly backend: BackendName
  /**
   * Worker threads that split the rows of a micro batch; only with wasm, others compute in the calling thread. `'whole'`: one
   * worker computes whole batches, with the same bits as the calling thread.
   */
  readonly threads: number | 'whole' | 'calling'
}

/**
 * @param backend an open backend, used instead of the one that the options name
 * @throws PEER_MISSING, BACKEND_UNAVAILABLE
 */
export async function openTfjsEngine(options: TfjsEngineOptions, backend?: Backend): Promise<TfjsEngine> {
  const usesWorkers = backend === undefined && options.backend === 'wasm' && options.threads !== 'calling'
  const engine = usesWorkers ? await openInWorkers(options) : await openInThisThread(options, backend)
  await engine.initialize()
  return engine
}

async function openInWorkers(options: TfjsEngineOptions): Promise<TfjsEngine> {
  const { model, optimizer, threads } = options
  // Only the kernels of the shared state need SIMD.
  const splitsRows = typeof threads === 'number' && WebAssembly.validate(await readKernels('update.wasm'))
  const learner = splitsRows
    ? await openThreadedLearner({ model, optimizer, threads })
    : new LearnerThread({ model, optimizer })
  return new TfjsEngine(options, notHere, learner)
}

async function openInThisThread(options: TfjsEngineOptions, given?: Backend): Promise<TfjsEngine> {
  const [{ openBackend }, { openLearner }] = await Promise.all([import('./backends.js'), import('./open-learner.js')])
  const backend = given ?? (await openBackend(options.backend))
  await backend.activate()
  return new TfjsEngine(options, backend, openLearner(options, backend))
}

type UsedBackend = Pick<Backend, 'activate' | 'requireHealthy' | 'memory'>

/** This thread has no backend: the workers have their own. */
const notHere: UsedBackend = {
  activate: async () => {},
  requireHealthy: () => {},
  memory: () => ({ tensors: 0, bytes: 0 }),
}

export class TfjsEngine implements Engine {
  stepsTaken = 0
  readonly maxStepsInFlight = 1
  readonly isPrimary = true
  readonly #options: TfjsEngineOptions
  readonly #backend: UsedBackend
  readonly #specs: readonly WeightSpec[]
  readonly #learner: Learner
  readonly #pause = async (): Promise<void> => {
    await yieldIfDue()
    await this.#backend.activate()
  }

  constructor(options: TfjsEngineOptions, backend: UsedBackend, learner: Learner) {
    this.#options = options
    this.#backend = backend
    this.#specs = weightSpecs(options.model)
    this.#learner = learner
  }

  /** Draws the weights of an untrained model. */
  async initialize(): Promise<void> {
    const weights = new Map<string, NamedTensor>()
    for (const spec of this.#specs) {
      const { name, shape } = spec
      const values = await valuesOf({ shape, pieces: () => initialPieces(spec, this.#options.model.seed) })
      weights.set(name, { shape, values })
    }
    const [means, variances] = [zerosLike(weights), zerosLike(weights)]
    await this.importState({ stepsTaken: 0, weights, means, variances })
  }

  /** Nothing to compare: this process trains alone. */
  async assertSameOnAllRanks(): Promise<void> {}

  async step(microBatches: readonly TrainingBatch[], learningRate: number, limits?: StepLimits): Promise<StepResult> {
    for (const batch of microBatches) {
      requireFit(batch, this.#options.model)
    }
    await this.#backend.activate()
    const { optimizer, gradientClip: clip } = this.#options
    const hyper = { ...optimizer, learningRate, update: this.stepsTaken + 1, clip, ...(limits && { limits }) }
    const result = await this.#learner.step(rowsByWeight(microBatches), hyper, this.#pause)
    this.#backend.requireHealthy()
    if (limits === undefined || isWithin(result, limits)) this.stepsTaken++
    return result
  }

  async evaluate(batch: TrainingBatch): Promise<EvaluationResult> {
    requireFit(batch, this.#options.model)
    await this.#backend.activate()
    const lossSum = await this.#learner.loss(batch)
    this.#backend.requireHealthy()
    return { lossSum, tokens: countTargets(batch) }
  }

  async nextTokenLogits(ids: Int32Array): Promise<Float32Array> {
    requireFit({ inputs: ids, targets: ids, rows: 1, columns: ids.length }, this.#options.model)
    await this.#backend.activate()
    const logits = await this.#learner.nextTokenLogits(ids)
    this.#backend.requireHealthy()
    return logits
  }

  async exportState(): Promise<EngineState> {
    return { stepsTaken: this.stepsTaken, ...(await this.#learner.exportState(this.#pause)) }
  }

  /** @throws WORLD_MISMATCH when a tensor is missing, unknown or has another shape */
  async importState(state: EngineState): Promise<void> {
    await this.#backend.activate()
    for (const tensors of [state.weights, state.means, state.variances]) {
      requireSameTensors(this.#specs, tensors)
    }
    await this.#learner.importState(state, this.#pause)
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
    const [means, variances] = [zerosLike(weights), zerosLike(weights)]
    await this.importState({ stepsTaken: 0, weights, means, variances })
  }

  memory(): EngineMemory {
    return this.#backend.memory()
  }

  async close(): Promise<void> {
    await this.#learner.close()
  }
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
    throw new PenstockError('WORLD_MISMATCH', `the state belongs to another model: it contains ${unknown}`)
  }
}
