/**
 * Matches the patterns that no automaton of dfa.ts can: with look-around, atomic groups, or matches of the empty text. It tries
 * the alternatives in the order of a backtracking engine, and each of them once per position, so that a match takes time
 * proportional to the pattern and the text it reads. Look-arounds and atomic groups are separate matches.
 */
import { PenstockError } from '../../errors.js'
import { parseRegex } from './regex.js'
import { lengthsOf, mayBeEmpty, type RegexNode, type RepeatNode } from './regex-nodes.js'
import { CODE_POINT_LIMIT, type CodePointSet, contains } from './unicode.js'

const INSTRUCTION_LIMIT = 4000
/** Longest text that a look-behind may match; nested ones multiply. */
const MAX_BEHIND = 64
/** Limit of the memory for states tried, in bits; forgetting them costs time only. */
const MAX_BITS = 2 ** 30

type Instruction =
  | { readonly op: 'set'; readonly has: (codePoint: number) => boolean; readonly next: number }
  | { readonly op: 'split'; next: readonly number[] }
  | { readonly op: 'match' }
  /** Continues at the end of what another program matches. */
  | { readonly op: 'atomic'; readonly program: Program; readonly next: number }
  | { readonly op: 'ahead'; readonly program: Program; readonly negative: boolean; readonly next: number }
  | {
      readonly op: 'behind'
      readonly program: Program
      readonly lengths: { readonly min: number; readonly max: number }
      readonly negative: boolean
      readonly next: number
    }

interface Program {
  readonly instructions: readonly Instruction[]
  readonly start: number
}

export interface Backtracker {
  /** End of the match that starts at `at`, or -1. */
  readonly matchEnd: (text: string, at: number) => number
  /** Called after a match and before another text: forgets the states tried. */
  readonly reset: () => void
  readonly mayBeEmpty: boolean
}

/** @throws UNSUPPORTED if the pattern is outside the subset or too long */
export function compileBacktracker(source: string): Backtracker {
  const root = parseRegex(source)
  const program = assemble(root, { left: INSTRUCTION_LIMIT })
  const tried = new StateSet(program.instructions.length)
  return {
    mayBeEmpty: mayBeEmpty(root),
    matchEnd: (text, at) => run(program, text, at, -1, tried),
    reset: () => tried.clear(),
  }
}

function assemble(root: RegexNode, room: { left: number }): Program {
  const instructions: Instruction[] = [{ op: 'match' }]
  const add = (instruction: Instruction): number => {
    if (--room.left < 0) throw new PenstockError('UNSUPPORTED', 'the pattern is too long')
    return instructions.push(instruction) - 1
  }
  const generate = (node: RegexNode, next: number): number => {
    switch (node.kind) {
      case 'set':
        return add({ op: 'set', has: testOf(node.set), next })
      case 'sequence':
        return node.items.reduceRight((following, item) => generate(item, following), next)
      case 'choice':
        return add({ op: 'split', next: node.options.map(option => generate(option, next)) })
      case 'atomic':
        return add({ op: 'atomic', program: assemble(node.item, room), next })
      case 'look': {
        const { negative } = node
        const program = assemble(node.item, room)
        if (node.direction === 'ahead') return add({ op: 'ahead', program, negative, next })
        const lengths = lengthsOf(node.item)
        if (lengths.max > MAX_BEHIND) {
          throw new PenstockError('UNSUPPORTED', `the pattern has a look-behind of more than ${MAX_BEHIND} characters`)
        }
        return add({ op: 'behind', program, lengths, negative, next })
      }
      case 'repeat':
        if (node.mode !== 'possessive') return generateRepeat(node, next)
        return add({ op: 'atomic', program: assemble({ ...node, mode: 'greedy' }, room), next })
    }
  }
  const generateRepeat = (node: RepeatNode, next: number): number => {
    const inOrder = (more: number): number[] => (node.mode === 'lazy' ? [next, more] : [more, next])
    let entry = next
    if (node.max === Number.POSITIVE_INFINITY) {
      const loop: Instruction = { op: 'split', next: [] }
      entry = add(loop)
      loop.next = inOrder(generate(node.item, entry))
    } else {
      for (let i = node.min; i < node.max; i++) entry = add({ op: 'split', next: inOrder(generate(node.item, entry)) })
    }
    for (let i = 0; i < node.min; i++) entry = generate(node.item, entry)
    return entry
  }
  const start = generate(root, 0)
  return { instructions, start }
}

/** Looks up ASCII in a table. */
function testOf(set: CodePointSet): (codePoint: number) => boolean {
  const ascii = Uint8Array.from({ length: 128 }, (_, codePoint) => (contains(set, codePoint) ? 1 : 0))
  return codePoint => (codePoint < 128 ? ascii[codePoint] === 1 : contains(set, codePoint))
}

/** Pairs of an instruction and a position, one bit each, from the lowest position on. */
class StateSet {
  private readonly instructions: number
  private bits = new Uint32Array(16)
  private first = 0
  /** Words in use. */
  private length = 0

  constructor(instructions: number) {
    this.instructions = instructions
  }

  clear(): void {
    this.bits.fill(0, 0, this.length)
    this.length = 0
  }

  /** Returns false if the state was added before. */
  add(place: number, at: number): boolean {
    if (this.length === 0) this.first = at
    let bit = (at - this.first) * this.instructions + place
    if (bit < 0 || bit >= MAX_BITS) {
      this.clear()
      this.first = at
      bit = place
    }
    const word = bit >>> 5
    if (word >= this.bits.length) {
      const larger = new Uint32Array(2 * word)
      larger.set(this.bits)
      this.bits = larger
    }
    this.length = Math.max(this.length, word + 1)
    const mask = 1 << (bit & 31)
    if ((this.bits[word]! & mask) !== 0) return false
    this.bits[word]! |= mask
    return true
  }
}

/** Runs a look-around or an atomic group. */
const runAlone = (program: Program, text: string, from: number, target = -1): number =>
  run(program, text, from, target, new StateSet(program.instructions.length))

/**
 * @param target the end that the match must have, -1 for any
 * @param tried states of runs that found no match; those of this run are added
 */
function run({ instructions, start }: Program, text: string, from: number, target: number, tried: StateSet): number {
  /** Pairs of an instruction and a position, the next one last. */
  const pending = [start, from]
  while (pending.length > 0) {
    let at = pending.pop()!
    for (let place = pending.pop()!; place >= 0; ) {
      if (!tried.add(place, at)) break
      const instruction = instructions[place]!
      if (instruction.op === 'match') {
        if (target < 0 || at === target) return at
        break
      }
      if (instruction.op === 'split') {
        for (let option = instruction.next.length - 1; option > 0; option--) pending.push(instruction.next[option]!, at)
        place = instruction.next[0]!
        continue
      }
      if (instruction.op === 'set') {
        const codePoint = at < text.length ? text.codePointAt(at)! : CODE_POINT_LIMIT
        if (codePoint === CODE_POINT_LIMIT || !instruction.has(codePoint)) break
        at += codePoint > 0xffff ? 2 : 1
      } else if (instruction.op === 'atomic') {
        at = runAlone(instruction.program, text, at)
        if (at < 0) break
      } else {
        const isFound =
          instruction.op === 'ahead'
            ? runAlone(instruction.program, text, at) >= 0
            : matchesBefore(instruction.program, text, at, instruction.lengths)
        if (isFound === instruction.negative) break
      }
      place = instruction.next
    }
  }
  return -1
}

/** Whether a match of this many characters ends at the position. */
function matchesBefore(
  program: Program,
  text: string,
  end: number,
  { min, max }: { min: number; max: number },
): boolean {
  let start = end
  for (let length = 0; length <= max; length++) {
    if (length >= min && runAlone(program, text, start, end) >= 0) return true
    if (start === 0) return false
    start -= start > 1 && (text.codePointAt(start - 2) ?? 0) > 0xffff ? 2 : 1
  }
  return false
}
