/** Autoregressive generation: prompt ids in, new ids out; the caller decodes and prints. */
import { PenstockError } from '../../errors.js'
import { yieldIfDue } from '../../files/event-loop.js'
import type { Engine } from '../engine.js'
import { uniformGenerator } from '../weights.js'
import { type SamplingOptions, sample } from './token-sampler.js'

export interface GenerateOptions extends SamplingOptions {
  /** Maximum number of new tokens. */
  readonly maxTokens: number
  /** Context window of the model: its sequence_length. */
  readonly sequenceLength: number
  /** The same seed gives the same text. Default 0. */
  readonly seed?: number
  /** Ids from this one on are vocabulary padding and never sampled. Default: none. */
  readonly vocabSize?: number
  /** Generation ends before this token. */
  readonly endToken?: number
}

/** Reason for the end of a generated text: the model produced the end token, or the text has the maximum length. */
export type GenerationEnd = 'end-token' | 'max-tokens'

/**
 * Yields new token ids one by one.
 * @throws ARGUMENT_INVALID for an empty prompt
 */
export async function* generate(
  engine: Pick<Engine, 'nextTokenLogits'>,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
): AsyncGenerator<number, GenerationEnd> {
  if (prompt.length === 0) {
    throw new PenstockError('ARGUMENT_INVALID', 'the prompt has no tokens')
  }
  const draw = uniformGenerator(`generate:${options.seed ?? 0}`)
  const ids = Array.from(prompt)
  for (let added = 0; added < options.maxTokens; added++) {
    await yieldIfDue()
    const logits = await engine.nextTokenLogits(Int32Array.from(ids.slice(-options.sequenceLength)))
    const id = sample(logits.subarray(0, options.vocabSize ?? logits.length), options, draw, ids)
    if (id === options.endToken) return 'end-token'
    ids.push(id)
    yield id
  }
  return 'max-tokens'
}
