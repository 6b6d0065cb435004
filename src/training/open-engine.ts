/** Opens the engine that a training definition names. The engines' own code is loaded only then: it is big. */
import { PenstockError } from '../errors.js'
import type { Engine } from './engine.js'
import type { ModelOptions, TrainingOptions } from './options.js'

/** @throws PEER_MISSING, BACKEND_UNAVAILABLE, UNSUPPORTED */
export async function openEngine(training: TrainingOptions, model: ModelOptions): Promise<Engine> {
  if (training.engine === 'torch') {
    throw new PenstockError('UNSUPPORTED', 'the torch engine is not part of this version', { path: 'engine' })
  }
  const { openTfjsEngine } = await import('./tfjs/engine.js')
  const { optimizer, gradient_clip: gradientClip, backend } = training
  return openTfjsEngine({ model, optimizer, gradientClip, backend })
}
