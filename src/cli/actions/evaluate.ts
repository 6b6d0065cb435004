/** Computes the loss of a checkpoint on packed files. */

import { findCheckpoint } from '../../pipelines/text-model.js'
import { shuffleSamples } from '../../stages/samples/shuffle-samples.js'
import { bitsPerByte, heldOutLoss } from '../../training/held-out-loss.js'
import { openTrained } from '../../training/open-engine.js'
import type { TrainingOptions } from '../../training/options.js'
import { reportDamaged } from '../output/notices.js'

export interface EvaluateOptions {
  readonly from: number
  readonly to: number
  readonly range: 'all' | 'file' | 'documents'
  /** Samples per batch; default: that of the training. */
  readonly batchSize?: number
  /** Maximum number of batches per file; default: all. */
  readonly batches?: number
  readonly bytesPerToken?: number
  readonly tokenizer?: string
  readonly engine: string
  readonly backend: string
}

/** Result of one file; `loss` is in nats per token. */
export interface FileEvaluation {
  readonly path: string
  readonly loss: number
  readonly perplexity: number
  readonly bitsPerByte?: number
  readonly tokens: number
}

/** Yields the result of each file. @throws FILE_MISSING, CHECKPOINT_INVALID, DATA_TOO_SMALL, TOKENIZER_MISMATCH */
export async function* evaluateCheckpoint(
  checkpoint: string,
  paths: readonly string[],
  options: EvaluateOptions,
): AsyncGenerator<FileEvaluation> {
  const { path: folder, state } = await findCheckpoint(checkpoint, reportDamaged)
  const { training, cursor } = state
  const { batchSize: batch_size = training.batch_size, batches = Number.POSITIVE_INFINITY, bytesPerToken } = options
  const { engine, model } = await openTrained(folder, {
    engine: options.engine as TrainingOptions['engine'],
    backend: options.backend as TrainingOptions['backend'],
  })
  const { from, to, range } = options
  const samples = {
    sequence_length: model.sequence_length,
    batch_size,
    shuffle: 'none' as const,
    documents: cursor.documents ?? ('join' as const),
    ...(options.tokenizer !== undefined && { tokenizer: options.tokenizer }),
  }
  try {
    for (const path of paths) {
      const source = shuffleSamples({ path, from, to, range, ...samples })
      const limit = { batches, rows: batch_size }
      const { loss, tokens } = (await heldOutLoss(engine, source, limit, training, undefined, () => false))!
      const bits = bytesPerToken === undefined ? {} : { bitsPerByte: bitsPerByte(loss, bytesPerToken) }
      yield { path, loss, perplexity: Math.exp(loss), ...bits, tokens }
    }
  } finally {
    await engine.close()
  }
}
