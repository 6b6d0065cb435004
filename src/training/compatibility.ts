/**
 * Compatibility checks before training: checkpoint and model, samples and options, data of a resumed run and data of the
 * original run, definitions of the processes that train together.
 */
import { createHash } from 'node:crypto'
import { PenstockError } from '../errors.js'
import type { SampleBatch, SampleCursor } from '../formats/batches.js'
import type { Checkpoint } from './checkpoint.js'
import type { ModelOptions, TrainingOptions } from './options.js'

/** All options must match except those of the initialization. @throws WORLD_MISMATCH */
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
  { block, rows, tokenizer }: Pick<SampleBatch, 'block' | 'rows' | 'tokenizer'>,
  { batch_size }: Pick<TrainingOptions, 'batch_size'>,
  { sequence_length, vocab_size }: Pick<ModelOptions, 'sequence_length' | 'vocab_size'>,
): void {
  requireEndTokenFits(tokenizer?.endOfDocumentId, vocab_size)
  // Without the previous sample's last target, the model gets one position less.
  if (block !== sequence_length + 1 && block !== sequence_length) {
    const message = `the samples have ${block} tokens; sequence_length ${sequence_length} needs one more than that`
    throw new PenstockError('OPTION_INVALID', message, { path: 'model.sequence_length' })
  }
  if (rows > batch_size) {
    const message = `a batch has ${rows} samples, batch_size is ${batch_size}`
    throw new PenstockError('OPTION_INVALID', message, { path: 'batch_size' })
  }
}

/** @throws TOKENIZER_MISMATCH if the model has no logit for the token that ends the documents of the data */
export function requireEndTokenFits(endOfDocumentId: number | undefined, vocabSize: number): void {
  if (endOfDocumentId === undefined || endOfDocumentId < vocabSize) return
  const message = `documents end with token ${endOfDocumentId}, but the model's vocab_size is ${vocabSize}: increase it, or leave it out`
  throw new PenstockError('TOKENIZER_MISMATCH', message, { path: 'model.vocab_size' })
}

/** @throws WORLD_MISMATCH when batches come from other data, or do not follow the previous ones */
export function requireSameData(before: SampleCursor, now: SampleCursor): void {
  for (const key of ['version', 'seed', 'sampleCount', 'sequenceLength', 'dataBytes', 'tokenBytes'] as const) {
    if (before[key] !== now[key]) {
      const message = `the batches come from different data: ${key} is ${now[key]}, was ${before[key]}`
      throw new PenstockError('WORLD_MISMATCH', message)
    }
  }
  if (now.globalSamples <= before.globalSamples) {
    const message = `the batches do not continue where training stopped: they end at sample ${now.globalSamples}, training was at ${before.globalSamples}`
    throw new PenstockError('WORLD_MISMATCH', message)
  }
}

/** Digest of all options that affect the trained weights; where the run computes and saves does not count. */
export function digestOfDefinition(training: TrainingOptions, model: ModelOptions): string {
  const { torch: _, checkpoint: __, ...relevant } = training
  return createHash('sha256')
    .update(JSON.stringify({ learning: relevant, model }))
    .digest('hex')
}
