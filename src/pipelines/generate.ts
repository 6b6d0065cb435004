/** Generates text with the model of a checkpoint. */
import { PenstockError } from '../errors.js'
import type { SamplingOptions } from '../training/generation/token-sampler.js'
import { continueText } from './text-model.js'

export interface GenerateOptions extends SamplingOptions {
  readonly prompt: string
  /** Default 100. */
  readonly maxTokens?: number
  /** Default 0. */
  readonly seed?: number
  /** Whether the text ends at the end of a document. Default true. */
  readonly stop?: boolean
  /** Path of the tokenizer. Default: the one of the checkpoint. */
  readonly tokenizer?: string
  /** Default tfjs. */
  readonly engine?: 'tfjs' | 'torch'
  /** Aborting throws STOPPED before the next piece. */
  readonly signal?: AbortSignal
}

/**
 * Yields the text in pieces, the prompt first. Leaving the loop closes the model.
 * @param checkpoint a checkpoint, or a folder of checkpoints, of which the newest is used
 * @throws FILE_MISSING, CHECKPOINT_INVALID, TOKENIZER_MISMATCH, ARGUMENT_INVALID, STOPPED
 */
export async function* generate(checkpoint: string, options: GenerateOptions): AsyncGenerator<string> {
  const { signal, maxTokens = 100, seed = 0, stop = true, engine = 'tfjs', ...others } = options
  for await (const piece of continueText(checkpoint, { ...others, maxTokens, seed, stop, engine, backend: 'wasm' })) {
    if (signal?.aborted) throw new PenstockError('STOPPED', 'the generation was stopped', {}, signal.reason)
    yield piece
  }
}
