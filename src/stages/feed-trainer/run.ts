/**
 * Body of `feed-trainer`: passes each batch to the trainer, with backpressure while a step runs. Ends after the last
 * step even if the source has more samples. A stopped run saves a checkpoint, and the same definition resumes from it.
 */
import { resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import type { SampleBatch, TokenRange } from '../../formats/batches.js'
import { openLatestCheckpoint } from '../../training/checkpoint.js'
import { TextSampler } from '../../training/generation/sample-texts.js'
import { requireHeldOut } from '../../training/held-out.js'
import { requireHeldOutApart } from '../../training/held-out-overlap.js'
import type { LossMask } from '../../training/loss-mask.js'
import { openEngine, resolveBackend } from '../../training/open-engine.js'
import { type LossMaskOptions, resolveModel, type TrainingOptions } from '../../training/options.js'
import { fetchCheckpoints } from '../../training/stored-checkpoints.js'
import { type HeldOutSet, openTrainer, type Trainer } from '../../training/trainer.js'
import type { TrainingEvent } from '../../training/training-events.js'
import { TokenizerThread } from '../../workers/tokenizer/tokenizer-thread.js'
import { type ShuffleSamplesOptions, sampleRanges, shuffleSamples } from '../samples/shuffle-samples.js'
import type { StageContext } from '../stream/stage.js'
import { type FeedTrainerSettings, type HeldOut, heldOutSets } from './options.js'

/** Trains up to the last step, or until the samples run out. */
export async function trainOnSamples(
  { tokenizer: path, ...options }: FeedTrainerSettings,
  input: AsyncIterable<SampleBatch>,
  context: StageContext,
): Promise<void> {
  const tokenizer = path === undefined ? undefined : await TokenizerThread.open(path)
  try {
    await trainWith(tokenizer, options, input, context)
  } finally {
    await tokenizer?.close()
  }
}

async function trainWith(
  tokenizer: TokenizerThread | undefined,
  {
    held_out,
    more_held_out,
    sample_texts: texts,
    resume,
    accept_changed_data: acceptChangedData,
    ...given
  }: Omit<FeedTrainerSettings, 'tokenizer'>,
  input: AsyncIterable<SampleBatch>,
  context: StageContext,
): Promise<void> {
  const model = resolveModel(given.model, tokenizer)
  const heldOut = given.evaluation === undefined ? [] : heldOutSets({ held_out, more_held_out })
  const heldOutRanges: TokenRange[] = []
  for (const set of heldOut) {
    const ranges = await sampleRanges(heldOutOptions(set, given, tokenizer?.path))
    requireHeldOut(ranges, given, set.name)
    if (!set.allow_overlap) heldOutRanges.push(...ranges)
  }
  const training = await withBackend(given, resume, context)
  const lossMask = await maskOf(training.loss_mask, training.batch_size, tokenizer)
  const sets = await Promise.all(heldOut.map(set => openHeldOut(set, training, tokenizer)))
  // The tokenizer is no longer needed, so its thread need not live as long as the training.
  if (texts === undefined) await tokenizer?.close()
  const engine = await openEngine(training, model, context.signal)
  let trainer: Trainer | undefined
  try {
    trainer = await openTrainer({
      training,
      model,
      engine,
      onEvent: context.report,
      signal: context.signal,
      ...(tokenizer && { tokenizer: { path: resolve(tokenizer.path), sha256: tokenizer.sha256 } }),
      heldOut: sets,
      ...(lossMask && { lossMask }),
      ...(resume && { resume: 'latest' }),
      acceptChangedData,
      ...(texts && { pausesAfter: (step: number) => step % texts.every_steps === 0 }),
    })
    const sampler = texts && tokenizer && new TextSampler(texts, engine, tokenizer, model.sequence_length, trainer.step)
    await feed(trainer, apartFrom(heldOutRanges, input), context, sampler)
  } finally {
    // A run that fails still completes a checkpoint of a step before the failure, unless the engine failed.
    await trainer?.finishSaving().catch(() => {})
    await engine.close()
  }
}

/** Chooses the backend before the engine is opened, so that checkpoints record it. */
async function withBackend(training: TrainingOptions, resume: boolean, { report }: StageContext) {
  const folder = training.checkpoint?.folder
  const mayResume = training.backend === 'auto' && resume && folder !== undefined
  const checkpoint = mayResume ? await openLatestCheckpoint(await fetchCheckpoints(folder), () => {}) : undefined
  const { backend, reason } = await resolveBackend(training, checkpoint?.state.training)
  if (reason !== undefined) {
    report({ kind: 'backend', backend, reason } satisfies TrainingEvent)
  }
  return { ...training, backend }
}

async function feed(
  trainer: Trainer,
  input: AsyncIterable<SampleBatch>,
  context: StageContext,
  sampler: TextSampler | undefined,
): Promise<void> {
  const resumedAt = trainer.cursor?.globalSamples ?? 0
  try {
    for await (const batch of input) {
      if (isAlreadyTrained(batch, resumedAt)) {
        context.count('samples passed over', batch.rows)
        continue
      }
      const outcome = await trainer.offer(batch)
      context.count('tokens', batch.rows * (batch.block - 1))
      const text = await sampler?.after(trainer.step, context.signal)
      if (text !== undefined) {
        context.report(text)
      }
      if (outcome === 'done') {
        break
      }
    }
  } catch (error) {
    // An aborted stream still saves its last completed step. A failed step leaves no consistent state to save.
    if (context.signal.aborted && !trainer.failed) {
      await trainer.end()
    }
    throw error
  }
  await trainer.end()
}

/** Whether the checkpoint already includes a batch: a source that cannot seek starts again at its first batch. */
function isAlreadyTrained(batch: SampleBatch, resumedAt: number): boolean {
  const { globalSamples } = batch.cursor
  if (globalSamples > resumedAt && globalSamples - batch.rows < resumedAt) {
    const message = `training stopped at sample ${resumedAt}, in the middle of a batch: set skip_num_global_samples to ${resumedAt}`
    throw new PenstockError('WORLD_MISMATCH', message)
  }
  return globalSamples <= resumedAt
}

/** Passes the batches of a training on. @throws OPTION_INVALID if the held-out samples are among them */
async function* apartFrom(
  heldOut: readonly TokenRange[],
  input: AsyncIterable<SampleBatch>,
): AsyncGenerator<SampleBatch> {
  let checked: readonly TokenRange[] | undefined
  for await (const batch of input) {
    if (batch.ranges !== undefined && batch.ranges !== checked) {
      requireHeldOutApart(batch.ranges, heldOut, batch.mixture === undefined ? 'shuffle-samples' : 'mix-samples')
    }
    checked = batch.ranges
    yield batch
  }
}

async function openHeldOut(
  heldOut: HeldOut,
  training: TrainingOptions,
  tokenizer: TokenizerThread | undefined,
): Promise<HeldOutSet> {
  const { name, loss_mask: options, bytes_per_token: bytesPerToken } = heldOut
  const mask = await maskOf(options, training.batch_size, tokenizer)
  return {
    ...(name !== undefined && { name }),
    ...(mask && { mask }),
    ...(bytesPerToken !== undefined && { bytesPerToken }),
    open: documents => shuffleSamples({ ...heldOutOptions(heldOut, training), documents }),
  }
}

function heldOutOptions(
  heldOut: HeldOut,
  { model, batch_size }: Pick<TrainingOptions, 'model' | 'batch_size'>,
  tokenizer?: string,
): ShuffleSamplesOptions {
  const { name: _name, allow_overlap: _overlap, bytes_per_token: _bytes, loss_mask: mask, ...part } = heldOut
  // Samples that share a mask must be in the same batch.
  const rows = mask === undefined ? batch_size : (mask.micro_batch ?? batch_size) * mask.ranks
  const { sequence_length = model.sequence_length } = part
  return { ...part, sequence_length, batch_size: rows, shuffle: 'none', ...(tokenizer && { tokenizer }) }
}

/** @throws OPTION_INVALID when both markers are the same token; TOKENIZER_MISMATCH */
async function maskOf(
  options: LossMaskOptions | undefined,
  batchSize: number,
  tokenizer: TokenizerThread | undefined,
): Promise<LossMask | undefined> {
  if (options === undefined) return undefined
  const idOf = async (token: string | number): Promise<number> => {
    if (typeof token === 'number') return token
    if (tokenizer !== undefined) return tokenizer.idOf(token)
    const message = `token ${token} cannot be looked up without a tokenizer: set the option tokenizer, or give the token's id`
    throw new PenstockError('OPTION_INVALID', message, { path: 'loss_mask' })
  }
  const [beginId, endId] = [await idOf(options.begin), await idOf(options.end)]
  if (beginId === endId) {
    throw new PenstockError('OPTION_INVALID', 'begin and end must be different tokens', { path: 'loss_mask' })
  }
  return { beginId, endId, rows: options.micro_batch ?? batchSize, ranks: options.ranks }
}
