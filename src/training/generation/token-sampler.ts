/**
 * Choice of the next token from its logits. The filters and their order are those of transformers: repetition penalty,
 * temperature, top-k, top-p, min-p.
 */
export interface SamplingOptions {
  /** 0 always takes the most probable token. Default 1. */
  readonly temperature?: number
  /** Samples from the k most probable tokens only. Default: all. */
  readonly topK?: number
  /** Samples from the fewest tokens whose probabilities add up to this share, in (0, 1]. Default 1. */
  readonly topP?: number
  /** Drops tokens less probable than this share of the most probable one, in [0, 1]. Default 0. */
  readonly minP?: number
  /** Divides positive logits of tokens that occurred before, and multiplies negative ones. Default 1. */
  readonly repetitionPenalty?: number
}

/**
 * @param logits shape [vocab_size]; not modified
 * @param previous ids of the prompt and of the text so far, for the repetition penalty
 * @param draw uniform numbers in [0, 1)
 * @returns a token id
 */
export function sample(
  logits: Float32Array,
  options: SamplingOptions,
  draw: () => number,
  previous: readonly number[] = [],
): number {
  const { temperature = 1, topK, topP = 1, minP = 0, repetitionPenalty = 1 } = options
  const scores = repetitionPenalty === 1 ? logits : penalize(logits, repetitionPenalty, previous)
  const likeliest = argmax(scores)
  if (temperature === 0) return likeliest
  const floor = topK === undefined || topK >= scores.length ? Number.NEGATIVE_INFINITY : kthLargest(scores, topK)
  // The most probable token has weight 1.
  const weights = Float64Array.from(scores, score =>
    score < floor ? 0 : Math.exp((score - scores[likeliest]!) / temperature),
  )
  if (topP < 1) keepMass(weights, topP)
  if (minP > 0) for (let id = 0; id < weights.length; id++) if (weights[id]! < minP) weights[id] = 0
  let remaining = draw() * sum(weights)
  for (let id = 0; id < weights.length; id++) {
    remaining -= weights[id]!
    if (remaining < 0) return id
  }
  return likeliest
}

function penalize(logits: Float32Array, penalty: number, previous: readonly number[]): Float32Array {
  const scores = logits.slice()
  for (const id of new Set(previous)) {
    const logit = logits[id]
    if (logit !== undefined) scores[id] = logit < 0 ? logit * penalty : logit / penalty
  }
  return scores
}

/** Sets the weights to 0 behind the most probable tokens that hold `share` of the sum. */
function keepMass(weights: Float64Array, share: number): void {
  const byWeight = Uint32Array.from(weights.keys()).sort((a, b) => weights[b]! - weights[a]! || a - b)
  const wanted = share * sum(weights)
  let mass = 0
  for (const id of byWeight) {
    if (mass >= wanted) weights[id] = 0
    else mass += weights[id]!
  }
}

const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0)

function argmax(values: Float32Array): number {
  return values.reduce((best, value, index) => (value > values[best]! ? index : best), 0)
}

function kthLargest(values: Float32Array, k: number): number {
  return values.slice().sort().at(-k)!
}
