/** Opens the engine that a training definition names. The engines' own code is loaded only then: it is big. */
import type { Engine } from './engine.js'
import type { ModelOptions, TrainingOptions } from './options.js'

/** @throws PEER_MISSING, BACKEND_UNAVAILABLE, ENGINE_FAILED */
export async function openEngine(training: TrainingOptions, model: ModelOptions): Promise<Engine> {
  const { optimizer, gradient_clip: gradientClip, backend, torch } = training
  if (training.engine === 'torch') {
    const { openTorchEngine } = await import('./torch/engine.js')
    return openTorchEngine({ model, optimizer, gradientClip, torch })
  }
  const { openTfjsEngine } = await import('./tfjs/engine.js')
  return openTfjsEngine({ model, optimizer, gradientClip, backend })
}
