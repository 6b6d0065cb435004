/** The tree of a parsed regular expression, and the anchors of Oniguruma as such trees. */
import { CODE_POINT_LIMIT, type CodePointSet, complement, contains, unicodeClass } from './unicode.js'

export interface RepeatNode {
  readonly kind: 'repeat'
  readonly item: RegexNode
  readonly min: number
  readonly max: number
  /** Possessive repeats give back nothing; lazy ones try fewer repetitions first. */
  readonly mode: 'greedy' | 'lazy' | 'possessive'
}

/** A condition on the text after the position (`ahead`) or before it; the text is not consumed. */
export interface LookNode {
  readonly kind: 'look'
  readonly item: RegexNode
  readonly direction: 'ahead' | 'behind'
  readonly negative: boolean
  /** Part of an anchor, which a look-behind may contain. */
  readonly isAnchor?: boolean
}

export type RegexNode =
  | { readonly kind: 'set'; readonly set: CodePointSet }
  | { readonly kind: 'sequence'; readonly items: readonly RegexNode[] }
  | { readonly kind: 'choice'; readonly options: readonly RegexNode[] }
  /** Matches in one way only: the first that succeeds. */
  | { readonly kind: 'atomic'; readonly item: RegexNode }
  | RepeatNode
  | LookNode

export const ANY: CodePointSet = [0, CODE_POINT_LIMIT]
export const LINE_FEED: CodePointSet = [10, 11]
const LINE_ENDS: CodePointSet = [10, 14, 0x85, 0x86, 0x2028, 0x202a]
export const setNode = (set: CodePointSet): RegexNode => ({ kind: 'set', set })
const sequenceOf = (...items: readonly RegexNode[]): RegexNode => ({ kind: 'sequence', items })
export const look = (item: RegexNode, direction: LookNode['direction'], negative = false): RegexNode => ({
  kind: 'look',
  item,
  direction,
  negative,
})

const anchor = (set: CodePointSet, direction: LookNode['direction'], negative = false): RegexNode => ({
  kind: 'look',
  item: setNode(set),
  direction,
  negative,
  isAnchor: true,
})

const textStart = (): RegexNode => anchor(ANY, 'behind', true)
const textEnd = (): RegexNode => look(setNode(ANY), 'ahead', true)
/** As in Oniguruma, no line begins after a line feed at the end of the text. */
export const lineStart = (): RegexNode => ({
  kind: 'choice',
  options: [textStart(), sequenceOf(anchor(LINE_FEED, 'behind'), anchor(ANY, 'ahead'))],
})
export const lineEnd = (): RegexNode => anchor(complement(LINE_FEED), 'ahead', true)
/** Whether $ or \z is a negative look-ahead for this set. */
export const isLineEnd = (set: CodePointSet): boolean =>
  contains(set, 0) && complement(set).every(edge => edge === 10 || edge === 11)
const lastLineEnd = (): RegexNode => {
  const ends = { kind: 'choice', options: [textEnd(), sequenceOf(setNode(LINE_FEED), textEnd())] } as const
  return look(ends, 'ahead')
}
const word = (): CodePointSet => unicodeClass('OnigurumaWordEscape')!
function wordBoundary(isNegated: boolean): RegexNode {
  const sides = (isBefore: boolean, isAfter: boolean): RegexNode =>
    sequenceOf(anchor(word(), 'behind', !isBefore), anchor(word(), 'ahead', !isAfter))
  return { kind: 'choice', options: [sides(true, isNegated), sides(false, !isNegated)] }
}
const lineBreak = (): RegexNode => {
  const windows = sequenceOf(setNode([13, 14]), setNode(LINE_FEED))
  return { kind: 'atomic', item: { kind: 'choice', options: [windows, setNode(LINE_ENDS)] } }
}

/** Escapes whose meaning is another outside of brackets. */
export const ESCAPED_NODES: Record<string, () => RegexNode> = {
  A: textStart,
  z: textEnd,
  Z: lastLineEnd,
  b: () => wordBoundary(false),
  B: () => wordBoundary(true),
  R: lineBreak,
  w: () => setNode(word()),
  W: () => setNode(complement(word())),
}

/** Least and greatest number of characters that a node matches. */
export function lengthsOf(node: RegexNode): { min: number; max: number } {
  switch (node.kind) {
    case 'set':
      return { min: 1, max: 1 }
    case 'look':
      return { min: 0, max: 0 }
    case 'atomic':
      return lengthsOf(node.item)
    case 'repeat': {
      const { min, max } = lengthsOf(node.item)
      return { min: min * node.min, max: max === 0 ? 0 : max * node.max }
    }
    case 'sequence': {
      const parts = node.items.map(lengthsOf)
      return { min: parts.reduce((sum, { min }) => sum + min, 0), max: parts.reduce((sum, { max }) => sum + max, 0) }
    }
    case 'choice': {
      const parts = node.options.map(lengthsOf)
      return { min: Math.min(...parts.map(({ min }) => min)), max: Math.max(...parts.map(({ max }) => max)) }
    }
  }
}

export const mayBeEmpty = (node: RegexNode): boolean => lengthsOf(node).min === 0

/** Whether there is a look-around that is not part of an anchor. */
export function hasLook(node: RegexNode): boolean {
  if (node.kind === 'set') return false
  if (node.kind === 'look') return node.isAnchor !== true
  if (node.kind === 'sequence') return node.items.some(hasLook)
  return node.kind === 'choice' ? node.options.some(hasLook) : hasLook(node.item)
}
