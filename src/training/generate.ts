/** Autoregressive generation: prompt ids in, new ids out; the caller decodes and prints. */
import { PenstockError } from '../errors.js'
import type { Engine } from './engine.js'
import { yieldIfDue } from './event-loop.js'
import { uniformGenerator } from './weights.js'

export interface GenerateOptions {
  /** Maximum number of new tokens. */
  readonly maxTokens: number
  /** Context window of the model: its sequence_length. */
  readonly sequenceLength: number
  /** 0 always takes the most probable token. Default 1. */
  readonly temperature?: number
  /** Samples from the k most probable tokens only. Default: all. */
  readonly topK?: number
  /** The same seed gives the same text. Default 0. */
  readonly seed?: number
  /** Ids from this one on are vocabulary padding and never sampled. Default: none. */
  readonly vocabSize?: number
  /** Generation ends before this token. */
  readonly endToken?: number
}

/**
 * Yields new token ids one by one.
 * @throws ARGUMENT_INVALID for an empty prompt
 */
export async function* generate(
  engine: Pick<Engine, 'nextTokenLogits'>,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
): AsyncGenerator<number> {
  if (prompt.length === 0) {
    throw new PenstockError('ARGUMENT_INVALID', 'the prompt has no tokens')
  }
  const draw = uniformGenerator(`generate:${options.seed ?? 0}`)
  const ids = Array.from(prompt)
  for (let added = 0; added < options.maxTokens; added++) {
    await yieldIfDue()
    const logits = await engine.nextTokenLogits(Int32Array.from(ids.slice(-options.sequenceLength)))
    const id = sample(logits.subarray(0, options.vocabSize ?? logits.length), options, draw)
    if (id === options.endToken) {
      return
    }
    ids.push(id)
    yield id
  }
}

/** Samples a token from softmax(logits / temperature) among the top k. */
export function sample(
  logits: Float32Array,
  { temperature = 1, topK }: Pick<GenerateOptions, 'temperature' | 'topK'>,
  draw: () => number,
): number {
  const likeliest = argmax(logits)
  if (temperature === 0) {
    return likeliest
  }
  const floor = topK === undefined || topK >= logits.length ? Number.NEGATIVE_INFINITY : kthLargest(logits, topK)
  const weights = Float64Array.from(logits, logit =>
    logit < floor ? 0 : Math.exp((logit - logits[likeliest]!) / temperature),
  )
  let remaining = draw() * weights.reduce((sum, weight) => sum + weight, 0)
  for (let id = 0; id < weights.length; id++) {
    remaining -= weights[id]!
    if (remaining < 0) {
      return id
    }
  }
  return likeliest
}

function argmax(values: Float32Array): number {
  return values.reduce((best, value, index) => (value > values[best]! ? index : best), 0)
}

function kthLargest(values: Float32Array, k: number): number {
  return values.slice().sort().at(-k)!
}
