/** Opens the engine that a training definition names. The engines' own code is loaded only then: it is big. */
import { availableParallelism } from 'node:os'
import { PenstockError } from '../errors.js'
import type { Engine } from './engine.js'
import type { ModelOptions, TrainingOptions } from './options.js'
import { parameterCount } from './weights.js'

/** @throws PEER_MISSING, BACKEND_UNAVAILABLE, UNSUPPORTED */
export async function openEngine(training: TrainingOptions, model: ModelOptions): Promise<Engine> {
  if (training.engine === 'torch') {
    throw new PenstockError('UNSUPPORTED', 'the torch engine is not part of this version', { path: 'engine' })
  }
  const { openTfjsEngine } = await import('./tfjs/engine.js')
  const { optimizer, gradient_clip: gradientClip, backend } = training
  return openTfjsEngine({ model, optimizer, gradientClip, backend, threads: threadsFor(training, model) })
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
