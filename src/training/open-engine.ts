/** Opens the engine that a training definition names. The engines' own code is loaded only then: it is big. */
import { availableParallelism } from 'node:os'
import type { TokenizerReference } from '../formats/batches.js'
import { openCheckpoint } from './checkpoint.js'
import type { Engine } from './engine.js'
import { type BackendName, type ModelOptions, resolveModel, type TrainingOptions } from './options.js'
import { parameterCount } from './weights.js'

/** @throws PEER_MISSING, BACKEND_UNAVAILABLE, ENGINE_FAILED */
export async function openEngine(training: TrainingOptions, model: ModelOptions): Promise<Engine> {
  const { optimizer, gradient_clip: gradientClip, torch } = training
  if (training.engine === 'torch') {
    const { openTorchEngine } = await import('./torch/engine.js')
    return openTorchEngine({ model, optimizer, gradientClip, torch })
  }
  const { openTfjsEngine } = await import('./tfjs/engine.js')
  const { backend } = await settleBackend(training)
  return openTfjsEngine({ model, optimizer, gradientClip, backend, threads: threadsFor(training, model) })
}

/**
 * Settles `backend: auto`. A run that goes on from a checkpoint stays with the backend that this records, because another
 * would change the last bits of everything after it.
 * @returns a reason where there was a choice
 */
export async function settleBackend(
  { engine, backend }: Pick<TrainingOptions, 'engine' | 'backend'>,
  recorded?: Pick<TrainingOptions, 'engine' | 'backend'>,
): Promise<{ readonly backend: BackendName; readonly reason?: string }> {
  if (backend !== 'auto') {
    return { backend }
  }
  if (engine === 'torch') {
    return { backend: 'wasm' }
  }
  if (recorded?.engine === 'tfjs' && recorded.backend !== 'auto') {
    return { backend: recorded.backend, reason: 'the checkpoint was made with it' }
  }
  const { chooseBackend } = await import('./tfjs/choose-backend.js')
  return chooseBackend()
}

/**
 * Opens an engine with the weights of a checkpoint, to generate or to evaluate.
 * @throws CHECKPOINT_INVALID, FILE_MISSING, PEER_MISSING, BACKEND_UNAVAILABLE
 */
export async function openTrained(
  path: string,
  changes: Partial<Pick<TrainingOptions, 'engine' | 'backend'>> = {},
): Promise<{ engine: Engine; model: ModelOptions; tokenizer: TokenizerReference | undefined }> {
  const { state } = await openCheckpoint(path)
  const model = resolveModel(state.model)
  const engine = await openEngine({ ...state.training, ...changes, threads: 1 }, model)
  await engine.loadWeights(path)
  return { engine, model, tokenizer: state.tokenizer }
}

/** Below this many multiplications a step the threads' messages and copies cost more than they gain. */
const worthThreads = 1e8

/** All cores that the rows can feed, when the model is big enough to gain from them. */
function threadsFor({ threads, batch_size }: TrainingOptions, model: ModelOptions): number {
  if (threads !== 'auto') {
    return threads
  }
  const work = parameterCount(model) * model.sequence_length * batch_size
  return work < worthThreads ? 1 : Math.min(availableParallelism(), batch_size)
}
