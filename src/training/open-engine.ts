/** Opens the engine that a training definition names. Engines are large, so their code is loaded on demand. */
import { availableParallelism } from 'node:os'
import type { TokenizerReference } from '../formats/batches.js'
import { openCheckpoint } from './checkpoint.js'
import type { Engine } from './engine.js'
import { type BackendName, type ModelOptions, resolveModel, type TrainingOptions } from './options.js'
import { localFolderOf } from './stored-checkpoints.js'
import { parameterCount } from './weights.js'

/**
 * @param signal aborting ends the start of an engine in other processes, which can take minutes
 * @param threads where the wasm backend computes: in workers, or in the calling thread
 * @throws PEER_MISSING, BACKEND_UNAVAILABLE, ENGINE_FAILED, STOPPED
 */
export async function openEngine(
  training: TrainingOptions,
  model: ModelOptions,
  signal?: AbortSignal,
  threads: number | 'whole' | 'calling' = threadsFor(training, model),
): Promise<Engine> {
  const { optimizer, gradient_clip: gradientClip, torch } = training
  if (training.engine === 'torch') {
    const { openTorchEngine } = await import('./torch/engine.js')
    const reportParent = training.checkpoint && (await localFolderOf(training.checkpoint.folder))
    return openTorchEngine({ model, optimizer, gradientClip, torch, reportParent }, signal)
  }
  const { openTfjsEngine } = await import('./tfjs/engine.js')
  const { backend } = await resolveBackend(training)
  return openTfjsEngine({ model, optimizer, gradientClip, backend, threads })
}

/**
 * Resolves `backend: auto`. A resumed run keeps the backend recorded in its checkpoint, because another backend would
 * change the last bits of all later weights.
 * @returns the backend, with a reason if it was chosen here
 */
export async function resolveBackend(
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
    return { backend: recorded.backend, reason: 'the checkpoint was written by it' }
  }
  const { chooseBackend } = await import('./tfjs/choose-backend.js')
  return chooseBackend()
}

/**
 * Opens an engine with the weights of a checkpoint, for generation or evaluation.
 * @throws CHECKPOINT_INVALID, FILE_MISSING, PEER_MISSING, BACKEND_UNAVAILABLE
 */
export async function openTrained(
  path: string,
  changes: Partial<Pick<TrainingOptions, 'engine' | 'backend'>> = {},
): Promise<{ engine: Engine; model: ModelOptions; tokenizer: TokenizerReference | undefined }> {
  const { state } = await openCheckpoint(path)
  const model = resolveModel(state.model)
  const engine = await openEngine({ ...state.training, ...changes }, model, undefined, 'calling')
  await engine.loadWeights(path)
  return { engine, model, tokenizer: state.tokenizer }
}

/** Below this many multiplications per micro batch, messages and copies between threads cost more than a second one gains. */
const minThreadedWork = 1e8

/** One thread per core, at most one per row; for a small model one that computes whole batches. */
function threadsFor({ threads, batch_size }: TrainingOptions, model: ModelOptions): number | 'whole' {
  const isSmall = parameterCount(model) * model.sequence_length * batch_size < minThreadedWork
  if (threads !== 'auto') {
    return threads === 1 && isSmall ? 'whole' : threads
  }
  return isSmall ? 'whole' : Math.min(availableParallelism(), batch_size)
}
