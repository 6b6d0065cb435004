/**
 * Compatibility checks before training: checkpoint and model, samples and options, data of a resumed run and data of the
 * original run, definitions of the processes that train together.
 */

import { createHash } from 'node:crypto'
import { PenstockError } from '../errors.js'
import type {
  BatchOfMixture,
  MixtureIdentity,
  SampleBatch,
  SampleCursor,
  TokenizerIdentity,
  TokenizerReference,
} from '../formats/batches.js'
import { count, quantity } from '../formats/message-words.js'
import type { Checkpoint } from './checkpoint.js'
import { type ModelOptions, resolveModel, type TrainingOptions } from './options.js'

/**
 * All options must match except those of the initialization.
 * @param isFreeLength whether sequence_length may differ
 * @throws WORLD_MISMATCH
 */
export function requireSameModel(
  model: ModelOptions,
  { path, state }: { readonly path: string; readonly state: Pick<Checkpoint['state'], 'model'> },
  isFreeLength = false,
): void {
  // Completes the options of checkpoints that are older than an option.
  const recorded = resolveModel(state.model)
  for (const key of Object.keys(model) as (keyof ModelOptions)[]) {
    if (key === 'seed' || key === 'init_std' || (key === 'sequence_length' && isFreeLength)) continue
    if (model[key] !== recorded[key]) {
      const message = `the checkpoint's model has ${key} ${recorded[key]}, this one ${model[key]}`
      throw new PenstockError('WORLD_MISMATCH', message, { file: path, path: `model.${key}` })
    }
  }
}

/** The treatment of documents must match, because it changes what the model learns. @throws WORLD_MISMATCH */
export function requireSameDocuments(training: TrainingOptions, { path, state }: Checkpoint): void {
  for (const key of ['restart_positions', 'ignore_first_targets'] as const) {
    if (training[key] === state.training[key]) continue
    const message = `the checkpoint was trained with ${key} ${state.training[key]}, this run has ${training[key]}`
    throw new PenstockError('WORLD_MISMATCH', message, { file: path, path: key })
  }
}

/** @throws TOKENIZER_MISMATCH when a run continues with another tokenizer than that of the checkpoint */
export function requireSameTokenizer(tokenizer: TokenizerReference | undefined, { path, state }: Checkpoint): void {
  const recorded = state.tokenizer
  if (tokenizer === undefined || recorded === undefined || tokenizer.sha256 === recorded.sha256) return
  const message = `the checkpoint was trained with another tokenizer than ${tokenizer.path}: use ${recorded.path}, or a new checkpoint folder`
  throw new PenstockError('TOKENIZER_MISMATCH', message, { file: path, path: 'tokenizer' })
}

/** @throws TOKENIZER_MISMATCH when the samples were packed with another tokenizer than that of the training */
export function requirePackedWith(
  tokenizer: TokenizerReference | undefined,
  packedWith: Pick<TokenizerIdentity, 'sha256'> | undefined,
): void {
  if (tokenizer === undefined || packedWith === undefined || tokenizer.sha256 === packedWith.sha256) return
  const [packed, given] = [packedWith.sha256, tokenizer.sha256].map(hash => hash.slice(0, 12))
  const message = `the samples were packed with the tokenizer ${packed}, but ${tokenizer.path} is ${given}`
  throw new PenstockError('TOKENIZER_MISMATCH', message, { path: 'tokenizer' })
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
    const message = `the samples have ${quantity(block, 'token')}, but sequence_length ${sequence_length} needs ${sequence_length + 1}`
    throw new PenstockError('OPTION_INVALID', message, { path: 'model.sequence_length' })
  }
  if (rows > batch_size) {
    const message = `a batch has ${quantity(rows, 'sample')}, batch_size is ${count(batch_size)}`
    throw new PenstockError('OPTION_INVALID', message, { path: 'batch_size' })
  }
}

/** @throws TOKENIZER_MISMATCH if the model has no logit for the token that ends the documents of the data */
export function requireEndTokenFits(endOfDocumentId: number | undefined, vocabSize: number): void {
  if (endOfDocumentId === undefined || endOfDocumentId < vocabSize) return
  const message = `documents end with token ${endOfDocumentId}, but the model's vocab_size is ${vocabSize}: increase it, or leave it out`
  throw new PenstockError('TOKENIZER_MISMATCH', message, { path: 'model.vocab_size' })
}

/** Fields of a cursor that stay the same during a training, and the options that determine them. */
const DATA_FIELDS = {
  version: 'the version of the cursor',
  tokenBytes: 'the number of bytes per token',
  tokenizer: 'the tokenizer of the packed files',
  files: 'the packed files or their order (path, more_paths)',
  dataBytes: 'the size of the packed files',
  content: 'the content of the packed files',
  sequenceLength: 'sequence_length',
  block: 'the number of tokens per sample (reuse_last_target)',
  order: 'the order of the samples (shuffle)',
  seed: 'the seed of the order',
  firstSample: 'the first sample (from)',
  sampleCount: 'the number of samples (from, to)',
  range: 'the ranges of the files (range, from, to)',
} satisfies Partial<Record<keyof SampleCursor, string>>
const DIGESTS: readonly string[] = ['tokenizer', 'files', 'content', 'range']

/**
 * @param acceptsChanges allows all changes of the data except another tokenizer
 * @throws WORLD_MISMATCH, TOKENIZER_MISMATCH when batches come from other data or do not follow the previous ones
 */
export function requireSameData(before: SampleCursor, now: SampleCursor, acceptsChanges = false): void {
  if (acceptsChanges) requireSameTokens(before, now)
  else requireSameSamples(before, now)
  if (now.globalSamples <= before.globalSamples) {
    const message = `the batches do not continue where training stopped: they end at sample ${now.globalSamples}, training was at ${before.globalSamples}`
    throw new PenstockError('WORLD_MISMATCH', message)
  }
}

function requireSameTokens({ tokenizer: before }: SampleCursor, { tokenizer: now }: SampleCursor): void {
  if (before === now || before === undefined || now === undefined) return
  throw new PenstockError(
    'TOKENIZER_MISMATCH',
    `the batches come from different data than before: ${DATA_FIELDS.tokenizer} changed`,
  )
}

function requireSameSamples(before: SampleCursor, now: SampleCursor): void {
  requireSameMixture(before, now)
  requireSameTokens(before, now)
  for (const [name, description] of Object.entries(DATA_FIELDS)) {
    const key = name as keyof typeof DATA_FIELDS
    if (before[key] === now[key] || before[key] === undefined || now[key] === undefined) continue
    const change = DIGESTS.includes(key) ? 'changed' : `is ${now[key]}, was ${before[key]}`
    throw differs(`${description} ${change}`)
  }
  if (before.documents !== now.documents) {
    const [was, is] = [before, now].map(({ documents = 'join' }) => documents)
    throw differs(`the samples have documents: ${is}, training began with documents: ${was}`)
  }
  if (before.rows !== now.rows) {
    throw differs('the rows of the samples (pack) changed')
  }
}

function differs(change: string): PenstockError {
  const remedy = 'use another checkpoint folder, or accept_changed_data to continue with the new data'
  return new PenstockError('WORLD_MISMATCH', `the batches come from different data than before: ${change}; ${remedy}`)
}

/**
 * The phases that have started must be the same, with the same samples of their sources; later phases and their sources may
 * have changed.
 * @throws WORLD_MISMATCH
 */
function requireSameMixture(before: SampleCursor, now: SampleCursor): void {
  // Checkpoints of earlier versions, and those of converted models, do not record the order either.
  if (before.mixture === undefined && before.order === undefined) return
  if ((before.mixture === undefined) !== (now.mixture === undefined)) {
    throw differs(
      'a mixture (mix-samples) cannot continue other samples, nor be continued by them: start a new run with init_from',
    )
  }
  if (before.mixture === undefined || now.mixture === undefined) return
  const [old, own] = [before.mixture, now.mixture].map(({ phases }) =>
    phases.filter(({ firstSample }) => firstSample < before.globalSamples),
  )
  if (JSON.stringify(old!.map(sorted)) !== JSON.stringify(own!.map(sorted))) {
    const at = `sample ${before.globalSamples}`
    throw differs(`the weights before ${at} changed: keep the phases so far, and add one that starts at ${at} or later`)
  }
  for (const name of new Set(old!.flatMap(({ weights }) => Object.keys(weights)))) {
    const [was, is] = [before.mixture.sources[name], now.mixture.sources[name]]
    const isSame = was?.samples === is?.samples && (!was?.content || !is?.content || was.content === is.content)
    if (!isSame) throw differs(`source ${name} has other files, another range or another seed`)
  }
}

function sorted({ firstSample, weights }: MixtureIdentity['phases'][number]) {
  return [firstSample, Object.entries(weights).sort(([a], [b]) => (a < b ? -1 : 1))]
}

/** @throws OPTION_INVALID if a mixture is to be trained on for a number of epochs, or with other steps than its phases */
export function requireMixtureLength(
  { mixture }: { readonly mixture?: Pick<BatchOfMixture, 'batchesPerStep' | 'samplesPerBatch'> },
  training: Pick<TrainingOptions, 'steps' | 'tokens' | 'accumulation_steps'>,
): void {
  if (mixture === undefined) return
  if (training.steps === undefined && training.tokens === undefined) {
    throw new PenstockError('OPTION_INVALID', 'a mixture has no epochs: set steps or tokens', { path: 'steps' })
  }
  const { batchesPerStep: expected = training.accumulation_steps, samplesPerBatch } = mixture
  if (expected !== training.accumulation_steps) {
    const found = training.accumulation_steps * samplesPerBatch
    const message = `a step has ${found} samples, but the phases of the mixture are counted in steps of ${expected * samplesPerBatch}: set samples_per_step of mix-samples to ${found}`
    throw new PenstockError('OPTION_INVALID', message, { path: 'accumulation_steps' })
  }
}

/**
 * @param batch the first batch to train on
 * @throws DATA_TOO_SMALL if a source of a mixture would exceed its max_epochs within the remaining steps
 */
export function requireMixtureLasts(
  { mixture, cursor }: SampleBatch,
  remainingSteps: number,
  { accumulation_steps }: Pick<TrainingOptions, 'accumulation_steps'>,
): void {
  if (mixture === undefined || remainingSteps <= 0) return
  const { samplesPerBatch, availableSamples, limit } = mixture
  const needed = cursor.globalSamples + (remainingSteps * accumulation_steps - 1) * samplesPerBatch
  if (needed <= availableSamples) return
  const message = `the run needs ${needed} samples; ${limit}: increase max_epochs, lower the weight, or shorten the run`
  throw new PenstockError('DATA_TOO_SMALL', message)
}

/** Digest of all options that affect the trained weights; where the run computes and saves does not count. */
export function digestOfDefinition(training: TrainingOptions, model: ModelOptions): string {
  const { torch: _, checkpoint: __, init_from: ___, ...relevant } = training
  return createHash('sha256')
    .update(JSON.stringify({ learning: relevant, model }))
    .digest('hex')
}
