/**
 * Mixes several sources of samples: which source each position of the mixture belongs to, and how many earlier positions
 * belong to the same source. Exact integer arithmetic, in memory that does not depend on the number of positions: a binary
 * tree of the sources (mixture-tree.ts), or a stored period of the weights (mixture-period.ts) where the tree's bound on the
 * difference from the weights is above one sample. Weights may change at given positions, each of which starts a new phase.
 */
import { PenstockError } from '../errors.js'
import { MAX_PERIOD, periodicOrder } from './mixture-period.js'
import { type MixturePlace, type SourceOrder, treeOrder } from './mixture-tree.js'

export interface MixturePhase {
  /** First position of the phase. */
  readonly start: number
  /** Weight of each source, not negative; only their ratios matter. */
  readonly weights: readonly number[]
}

export interface Mixture {
  at(position: number): MixturePlace
  /** Number of positions before `position`, of each source. */
  countsBefore(position: number): number[]
}

/**
 * Positions are safe integers; the first phase starts at 0.
 * @throws OPTION_INVALID for phases out of order, and weights that are negative or all zero
 */
export function mixture(phases: readonly MixturePhase[]): Mixture {
  const compiled = compile(phases)
  const phaseAt = (position: number): CompiledPhase => compiled.findLast(({ start }) => start <= position)!
  return {
    at(position) {
      const { start, counts, order } = phaseAt(position)
      const { source, index } = order.at(position - start)
      return { source, index: counts[source]! + index }
    },
    countsBefore(position) {
      const { start, counts, order } = phaseAt(position)
      return order.addCounts(position - start, [...counts])
    },
  }
}

/**
 * Number of positions after which some source has been used more often than its limit allows; infinite if none ever is.
 * @param limits maximum number of samples of each source
 */
export function positionsWithin({ countsBefore }: Mixture, limits: readonly number[]): number {
  const fits = (position: number): boolean => countsBefore(position).every((count, source) => count <= limits[source]!)
  let [low, high] = [0, Number.MAX_SAFE_INTEGER]
  if (fits(high)) return Number.POSITIVE_INFINITY
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2)
    if (fits(middle)) low = middle
    else high = middle
  }
  return low
}

/**
 * Weights as integers without a common divisor, in the exact ratio of their decimal notations: 0.5, 0.3, 0.2 become 5, 3, 2.
 * @throws OPTION_INVALID for weights that are negative, not finite or all zero
 */
export function integerWeights(weights: readonly number[]): bigint[] {
  const invalid = weights.find(weight => !(weight >= 0 && Number.isFinite(weight)))
  if (invalid !== undefined) throw new PenstockError('OPTION_INVALID', `a weight is ${invalid}: expected 0 or more`)
  const decimals = weights.map(decimalOf)
  const digits = Math.max(0, ...decimals.map(({ fraction }) => fraction))
  const integers = decimals.map(({ digits: value, fraction }) => value * 10n ** BigInt(digits - fraction))
  const divisor = integers.reduce(greatestCommonDivisor, 0n)
  if (divisor === 0n) throw new PenstockError('OPTION_INVALID', 'all weights are 0: at least one must be positive')
  return integers.map(integer => integer / divisor)
}

interface CompiledPhase {
  readonly start: number
  /** Positions of each source before the phase. */
  readonly counts: readonly number[]
  readonly order: SourceOrder
}

function compile(phases: readonly MixturePhase[]): CompiledPhase[] {
  const compiled: CompiledPhase[] = []
  for (const { start, weights } of phases) {
    const before = compiled.at(-1)
    if (before === undefined ? start !== 0 : start <= before.start) {
      const expected = before === undefined ? '0' : `more than ${before.start}`
      throw new PenstockError(
        'OPTION_INVALID',
        `a phase of the mixture starts at sample ${start}: expected ${expected}`,
      )
    }
    const counts = before?.order.addCounts(start - before.start, [...before.counts])
    compiled.push({ start, counts: counts ?? weights.map(() => 0), order: orderOf(integerWeights(weights)) })
  }
  return compiled
}

/** The tree where its bound is one sample, else the period of the weights if it is short enough to be stored. */
function orderOf(weights: readonly bigint[]): SourceOrder {
  const tree = treeOrder(weights)
  const period = Number(weights.reduce((sum, weight) => sum + weight, 0n))
  return tree.bound <= 1 || period > MAX_PERIOD ? tree : periodicOrder(weights.map(Number))
}

/** A number's shortest decimal notation as an integer and the number of its digits after the point. */
function decimalOf(value: number): { readonly digits: bigint; readonly fraction: number } {
  const [mantissa = '0', exponent = '0'] = String(value).split('e')
  const [whole = '0', rest = ''] = mantissa.split('.')
  const fraction = rest.length - Number(exponent)
  const digits = BigInt(whole + rest)
  return fraction < 0 ? { digits: digits * 10n ** BigInt(-fraction), fraction: 0 } : { digits, fraction }
}

function greatestCommonDivisor(first: bigint, second: bigint): bigint {
  return second === 0n ? first : greatestCommonDivisor(second, first % second)
}
