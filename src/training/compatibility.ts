/**
 * What must agree before anything is learnt: a checkpoint with the model, samples with the options, the data of a resumed
 * run with that of before, and what each of several processes was told.
 */
import { createHash } from 'node:crypto'
import { PenstockError } from '../errors.js'
import type { SampleBatch, SampleCursor } from '../formats/batches.js'
import type { Checkpoint } from './checkpoint.js'
import type { ModelOptions, TrainingOptions } from './options.js'

/** Everything but the seed of the first weights must agree. @throws WORLD_MISMATCH */
export function requireSameModel(model: ModelOptions, { path, state }: Checkpoint): void {
  for (const key of Object.keys(model) as (keyof ModelOptions)[]) {
    if (key !== 'seed' && key !== 'init_std' && model[key] !== state.model[key]) {
      const message = `the checkpoint's model has ${key} ${state.model[key]}, this one ${model[key]}`
      throw new PenstockError('WORLD_MISMATCH', message, { file: path, path: `model.${key}` })
    }
  }
}

/** @throws OPTION_INVALID for samples of another length, and for more of them than a batch may have */
export function requireSamplesFit(
  { block, rows }: Pick<SampleBatch, 'block' | 'rows'>,
  { batch_size }: Pick<TrainingOptions, 'batch_size'>,
  { sequence_length }: Pick<ModelOptions, 'sequence_length'>,
): void {
  // Without the last target of the sample before, the model sees one position less.
  if (block !== sequence_length + 1 && block !== sequence_length) {
    const message = `the samples have ${block} tokens; sequence_length ${sequence_length} needs one more than that`
    throw new PenstockError('OPTION_INVALID', message, { path: 'model.sequence_length' })
  }
  if (rows > batch_size) {
    const message = `a batch has ${rows} samples, batch_size is ${batch_size}`
    throw new PenstockError('OPTION_INVALID', message, { path: 'batch_size' })
  }
}

/** @throws WORLD_MISMATCH when batches come from other data, or do not go on behind those before */
export function requireSameData(before: SampleCursor, now: SampleCursor): void {
  for (const key of ['version', 'seed', 'sampleCount', 'sequenceLength', 'dataBytes', 'tokenBytes'] as const) {
    if (before[key] !== now[key]) {
      const message = `the batches come from other data: ${key} is ${now[key]}, it was ${before[key]}`
      throw new PenstockError('WORLD_MISMATCH', message)
    }
  }
  if (now.globalSamples <= before.globalSamples) {
    const message = `the batches do not go on where training stopped: they end at sample ${now.globalSamples}, training was at ${before.globalSamples}`
    throw new PenstockError('WORLD_MISMATCH', message)
  }
}

/** One short text for all that decides what is learnt; where the work is done and saved does not. */
export function digestOfDefinition(training: TrainingOptions, model: ModelOptions): string {
  const { torch: _, checkpoint: __, ...learning } = training
  return createHash('sha256').update(JSON.stringify({ learning, model })).digest('hex')
}
