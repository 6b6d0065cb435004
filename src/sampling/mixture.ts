/**
 * Mixes several sources of samples: which source each position of the mixture belongs to, and how many earlier positions
 * belong to the same source. Exact integer arithmetic, without memory per position: the sources are the leaves of a binary
 * tree, and at each node the left branch gets the nearest integer to its share of the positions that the node gets.
 *
 * The number of positions of a source before any position differs from its weight's share by at most half a position per
 * node above the leaf, scaled by the leaf's part of that node's weight. The tree is chosen so that the largest such sum is
 * small: at most 1 for up to four sources, and at most 1.2 in random mixtures of up to 16. Weights may change at given
 * positions, each of which starts a new phase.
 */
import { PenstockError } from '../errors.js'

export interface MixturePhase {
  /** First position of the phase. */
  readonly start: number
  /** Weight of each source, not negative; only their ratios matter. */
  readonly weights: readonly number[]
}

/** A sample of the mixture: sample `index`, from 0, of all that the mixture takes from `source`. */
export interface MixturePlace {
  readonly source: number
  readonly index: number
}

export interface Mixture {
  /** O(depth of the tree). */
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
      const { start, counts, root } = phaseAt(position)
      const { source, index } = descend(root, BigInt(position - start))
      return { source, index: counts[source]! + index }
    },
    countsBefore(position) {
      const { start, counts, root } = phaseAt(position)
      return addCounts(root, BigInt(position - start), [...counts])
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

/** A source, or two branches that share the positions of a node. */
type Node = Leaf | Fork
interface Leaf {
  readonly weight: bigint
  readonly source: number
}
interface Fork {
  readonly weight: bigint
  readonly left: Node
  readonly right: Node
}

interface CompiledPhase {
  readonly start: number
  /** Positions of each source before the phase. */
  readonly counts: readonly number[]
  readonly root: Node
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
    const counts = before && addCounts(before.root, BigInt(start - before.start), [...before.counts])
    compiled.push({ start, counts: counts ?? weights.map(() => 0), root: treeOf(integerWeights(weights)) })
  }
  return compiled
}

/** The left branch's part of the first `count` positions of a node: the nearest integer to its share, halves up. */
function leftOf({ weight, left }: Fork, count: bigint): bigint {
  return (2n * count * left.weight + weight) / (2n * weight)
}

function descend(root: Node, position: bigint): MixturePlace {
  let [node, index] = [root, position]
  while ('left' in node) {
    const left = leftOf(node, index)
    const isLeft = leftOf(node, index + 1n) > left
    index = isLeft ? left : index - left
    node = isLeft ? node.left : node.right
  }
  return { source: node.source, index: Number(index) }
}

function addCounts(node: Node, count: bigint, counts: number[]): number[] {
  if (!('left' in node)) {
    counts[node.source]! += Number(count)
    return counts
  }
  const left = leftOf(node, count)
  addCounts(node.left, left, counts)
  return addCounts(node.right, count - left, counts)
}

/** A subtree with, for each of its leaves, the leaf's part of the weight of every node above it, summed. */
interface Subtree {
  readonly node: Node
  readonly leaves: readonly { readonly weight: number; readonly parts: number }[]
  /** Largest sum of its leaves. */
  readonly worst: number
}
type Forest = readonly Subtree[]

/** Partly joined forests that are kept after each join. */
const BEAM_WIDTH = 32

/**
 * The tree over the sources with a weight: of the forests found by joining two subtrees at a time, the one with the smallest
 * sum of parts. The root counts for nothing, because its own positions are exact.
 */
function treeOf(weights: readonly bigint[]): Node {
  const leaves = weights.flatMap((weight, source) => (weight > 0n ? [{ weight, source }] : []))
  let forests: Forest[] = [
    leaves.map(node => ({ node, leaves: [{ weight: Number(node.weight), parts: 0 }], worst: 0 })),
  ]
  for (let left = leaves.length; left > 2; left--) {
    const joins = forests.flatMap(forest => [...joinsOf(forest)])
    // The order of the joins does not matter: the same forest is found in several ways.
    const distinct = new Map(joins.map(forest => [`${worstOf(forest)} ${sumOf(forest)}`, forest]))
    const ranked = [...distinct.values()].sort((a, b) => worstOf(a) - worstOf(b) || sumOf(a) - sumOf(b))
    forests = ranked.slice(0, BEAM_WIDTH)
  }
  const [first, second] = forests[0]!
  return second === undefined ? first!.node : joined(first!, second).node
}

/** The forests in which one pair of subtrees is joined. */
function* joinsOf(forest: Forest): Generator<Forest> {
  for (const [index, second] of forest.entries()) {
    for (const first of forest.slice(0, index)) {
      yield [...forest.filter(subtree => subtree !== first && subtree !== second), joined(first, second)]
    }
  }
}

const worstOf = (forest: Forest): number => Math.max(...forest.map(({ worst }) => worst))
const sumOf = (forest: Forest): number => forest.reduce((sum, { worst }) => sum + worst, 0)

function joined(first: Subtree, second: Subtree): Subtree {
  const [left, right] = first.node.weight >= second.node.weight ? [first, second] : [second, first]
  const weight = left.node.weight + right.node.weight
  const leaves = [...left.leaves, ...right.leaves].map(({ weight: own, parts }) => ({
    weight: own,
    parts: parts + own / Number(weight),
  }))
  const worst = Math.max(...leaves.map(({ parts }) => parts))
  return { node: { weight, left: left.node, right: right.node }, leaves, worst }
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
