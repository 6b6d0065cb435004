/**
 * Order of the sources of a mixture from a binary tree: the sources are its leaves, and at each node the left branch gets the
 * nearest integer to its share of the positions that the node gets. O(depth of the tree) time, no memory per position.
 *
 * The number of positions of a source before any position differs from its weight's share by at most half a position per
 * node above the leaf, scaled by the leaf's part of that node's weight. The tree is chosen so that the largest such sum is
 * small: at most 1 for up to four sources, and at most 1.2 in random mixtures of up to 16.
 */

/** A sample of the mixture: sample `index`, from 0, of all that the mixture takes from `source`. */
export interface MixturePlace {
  readonly source: number
  readonly index: number
}

/** Source of each position of a phase. */
export interface SourceOrder {
  at(position: number): MixturePlace
  /** Adds the positions before `position` of each source to `counts`, which it returns. */
  addCounts(position: number, counts: number[]): number[]
}

/** @param weights integers, not all zero */
export function treeOrder(weights: readonly bigint[]): SourceOrder & {
  /** Upper bound of the difference between a source's positions in a prefix and its weight's share of them. */
  readonly bound: number
} {
  const { node, bound } = treeOf(weights)
  return {
    bound,
    at: position => descend(node, BigInt(position)),
    addCounts: (position, counts) => addCounts(node, BigInt(position), counts),
  }
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
function treeOf(weights: readonly bigint[]): { readonly node: Node; readonly bound: number } {
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
  const forest = forests[0]!
  const [first, second] = forest
  const node = second === undefined ? first!.node : joined(first!, second).node
  return { node, bound: (1 + worstOf(forest)) / 2 }
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
