/**
 * Order of the sources of a mixture from a stored period: the sum of the integer weights, after which the order repeats. Sample
 * i of a source with weight w may be taken from position floor(i * period / w) on and before position
 * ceil((i + 1) * period / w); at each position, the source whose next sample is due first is chosen. Each prefix is then
 * within one sample of the weights, for any number of sources: the weights themselves are a fractional schedule within these
 * windows, and the earliest deadline first meets all deadlines of unit jobs if any schedule does.
 */
import type { MixturePlace, SourceOrder } from './mixture-tree.js'

/** Longest stored period: 2 bytes per position. */
export const MAX_PERIOD = 1 << 20

/** @param weights integers, not all zero, with a sum of at most MAX_PERIOD */
export function periodicOrder(weights: readonly number[]): SourceOrder {
  const period = weights.reduce((sum, weight) => sum + weight, 0)
  const sources = sourcesOf(weights, period)
  // As many positions between stored counts as there are sources: the counts need no more memory than twice the sources.
  const stride = Math.max(64, weights.length)
  const counts = countsEvery(stride, sources, weights.length)

  /** Positions of a source before a position of the period. */
  const countBefore = (position: number, source: number): number => {
    const block = Math.floor(position / stride)
    let count = counts[block * weights.length + source]!
    for (let at = block * stride; at < position; at++) if (sources[at] === source) count++
    return count
  }
  return {
    at(position): MixturePlace {
      const [turns, rest] = [Math.floor(position / period), position % period]
      const source = sources[rest]!
      return { source, index: turns * weights[source]! + countBefore(rest, source) }
    },
    addCounts(position, into) {
      const [turns, rest] = [Math.floor(position / period), position % period]
      for (const [source, weight] of weights.entries()) into[source]! += turns * weight + countBefore(rest, source)
      return into
    },
  }
}

/** Source of each position of a period. */
function sourcesOf(weights: readonly number[], period: number): Uint16Array {
  const next = weights.map(() => 0)
  const sources = new Uint16Array(period)
  for (let position = 0; position < period; position++) {
    let [chosen, earliest] = [0, Number.POSITIVE_INFINITY]
    for (let source = 0; source < weights.length; source++) {
      const [weight, sample] = [weights[source]!, next[source]!]
      if (sample * period >= (position + 1) * weight) continue
      const deadline = Math.ceil(((sample + 1) * period) / weight)
      if (deadline < earliest) [chosen, earliest] = [source, deadline]
    }
    sources[position] = chosen
    next[chosen]!++
  }
  return sources
}

/** Counts of each source before every `stride`-th position: [positions / stride, sources]. */
function countsEvery(stride: number, sources: Uint16Array, kinds: number): Uint32Array {
  const blocks = Math.ceil(sources.length / stride)
  const counts = new Uint32Array(blocks * kinds)
  const running = new Uint32Array(kinds)
  for (const [position, source] of sources.entries()) {
    if (position % stride === 0) counts.set(running, (position / stride) * kinds)
    running[source]!++
  }
  return counts
}
