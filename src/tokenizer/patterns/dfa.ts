/**
 * Compiles a parsed pattern to a table-driven automaton over classes of code points, with the leftmost-first semantics of
 * backtracking engines: a state is the ordered list of threads that such an engine would still try, and a match drops the
 * lower-priority threads. One character of look-ahead is the class of the next character.
 */
import { PenstockError } from '../../errors.js'
import { parseRegex } from './regex.js'
import { isLineEnd, type LookNode, type RegexNode, type RepeatNode } from './regex-nodes.js'
import { CODE_POINT_LIMIT, type CodePointSet, contains, intersects } from './unicode.js'

/** Row length of the table: at most 63 classes, plus class 0 for the end of the text. */
const CLASS_LIMIT = 64
/** Set in a transition: the pattern matches up to, not including, the current character. */
export const MATCHES = 1
/** Set in a fused transition: neither continues nor matches; find the token again with the plain table. */
const RESCAN = 2
/** Set in a fused transition: a token starts at the previous character. */
const MATCHED_BEFORE = 4
/** States are multiples of CLASS_LIMIT in 16 bits. */
const STATE_LIMIT = 1000
/** Limit of the program; patterns in use have a few hundred instructions. Nested repeats multiply. */
const INSTRUCTION_LIMIT = 4000
export const START_STATE = CLASS_LIMIT

export interface Dfa {
  readonly source: string
  /** Class of each code point. */
  readonly classes: Uint8Array
  /** table[state + class] = next state (a multiple of 64, 0: dead) | MATCHES. */
  readonly table: Uint16Array
  /** The same with "emit and restart" folded in: MATCHES there means that a token starts at this character. */
  readonly fused: Uint16Array
}

type Instruction =
  | { readonly op: 'set'; readonly set: CodePointSet; readonly next: number }
  | { readonly op: 'ahead'; readonly set: CodePointSet; readonly negative: boolean; readonly next: number }
  | { readonly op: 'split'; next: number[] }
  | { readonly op: 'match' }

/** @throws UNSUPPORTED if the pattern is outside the subset, matches the empty string, or needs too large a table */
export function compilePattern(source: string): Dfa {
  const program = assemble(parseRegex(source))
  const { classes, members } = classify(program)
  const rows = determinize(program, members)
  if (rows.length > STATE_LIMIT)
    throw new PenstockError('UNSUPPORTED', `the pattern ${source} needs ${rows.length} states`)
  const table = new Uint16Array(rows.length * CLASS_LIMIT)
  for (const [state, row] of rows.entries()) table.set(row, state * CLASS_LIMIT)
  for (let c = 0; c < CLASS_LIMIT; c++) {
    if ((table[START_STATE + c]! & MATCHES) !== 0)
      throw new PenstockError('UNSUPPORTED', `the pattern ${source} matches the empty string`)
  }
  return { source, classes, table, fused: fuse(table) }
}

/** A program whose instruction 0 is the match and whose last one is the start. */
function assemble(root: RegexNode): readonly Instruction[] {
  const program: Instruction[] = [{ op: 'match' }]
  const add = (instruction: Instruction): number => {
    if (program.length >= INSTRUCTION_LIMIT) throw new PenstockError('UNSUPPORTED', 'the pattern is too long')
    return program.push(instruction) - 1
  }

  const generate = (node: RegexNode, next: number): number => {
    switch (node.kind) {
      case 'set':
        return add({ op: 'set', set: node.set, next })
      case 'look':
        return add({ op: 'ahead', set: aheadSet(node), negative: node.negative, next })
      case 'atomic':
        return refuse('an atomic group')
      case 'sequence':
        return node.items.reduceRight((following, item) => generate(item, following), next)
      case 'choice':
        return add({ op: 'split', next: node.options.map(option => generate(option, next)) })
      case 'repeat':
        return generateRepeat(node, next)
    }
  }
  const inOrder = (more: number, done: number, { mode }: RepeatNode): number[] =>
    mode === 'lazy' ? [done, more] : [more, done]
  const generateRepeat = (node: RepeatNode, next: number): number => {
    if (node.mode === 'possessive') refusePossessive(node.item, program, next)
    let entry = next
    if (node.max === Number.POSITIVE_INFINITY) {
      const loop: Instruction = { op: 'split', next: [] }
      entry = add(loop)
      loop.next = inOrder(generate(node.item, entry), next, node)
    } else {
      for (let i = node.min; i < node.max; i++)
        entry = add({ op: 'split', next: inOrder(generate(node.item, entry), next, node) })
    }
    for (let i = 0; i < node.min; i++) entry = generate(node.item, entry)
    return entry
  }

  const start = generate(root, 0)
  program.push({ op: 'split', next: [start] })
  return program
}

const refuse = (what: string): never => {
  throw new PenstockError('UNSUPPORTED', `the pattern has ${what}`)
}

/**
 * One character after the position; the end of the text is in no set. The ends of lines and of the text are left to the
 * backtracker: `\s+$` would be tried from every space of a long run.
 */
function aheadSet({ item, direction, negative }: LookNode): CodePointSet {
  if (direction !== 'ahead' || item.kind !== 'set') return refuse('a look-around of more than the next character')
  return negative && isLineEnd(item.set) ? refuse('an end of line or text') : item.set
}

/** A possessive repeat equals a greedy one if backtracking into it could never help the rest of the pattern. */
function refusePossessive(item: RegexNode, program: readonly Instruction[], next: number): void {
  if (item.kind === 'set' && firstSets(program, next).every(set => !intersects(set, item.set))) return
  refuse('a possessive repeat whose characters may also follow it')
}

function firstSets(program: readonly Instruction[], entry: number, seen = new Set<number>()): CodePointSet[] {
  if (seen.has(entry)) return []
  seen.add(entry)
  const instruction = program[entry]!
  if (instruction.op === 'match') return []
  if (instruction.op === 'set') return [instruction.set]
  if (instruction.op === 'ahead') return [[0, CODE_POINT_LIMIT]]
  return instruction.next.flatMap(next => firstSets(program, next, seen))
}

/** Equivalence classes of code points over all sets of the program, and the sets that contain each class. */
function classify(program: readonly Instruction[]): { classes: Uint8Array; members: readonly Set<CodePointSet>[] } {
  const sets = [...new Set(program.flatMap(instruction => ('set' in instruction ? [instruction.set] : [])))]
  const edges = [...new Set([0, ...sets.flat(), CODE_POINT_LIMIT])].sort((a, b) => a - b)
  const classes = new Uint8Array(CODE_POINT_LIMIT)
  const members: Set<CodePointSet>[] = [new Set()]
  const bySignature = new Map<string, number>()
  for (const [index, start] of edges.slice(0, -1).entries()) {
    const within = sets.filter(set => contains(set, start))
    const signature = within.map(set => sets.indexOf(set)).join()
    let number = bySignature.get(signature)
    if (number === undefined) {
      number = members.push(new Set(within)) - 1
      bySignature.set(signature, number)
    }
    classes.fill(number, start, edges[index + 1])
  }
  if (members.length > CLASS_LIMIT)
    throw new PenstockError('UNSUPPORTED', `the pattern needs ${members.length} classes of characters`)
  return { classes, members }
}

function determinize(program: readonly Instruction[], members: readonly Set<CodePointSet>[]): Uint16Array[] {
  const threadsOf: number[][] = [[], [program.length - 1]]
  const numbers = new Map([
    ['', 0],
    [String(program.length - 1), 1],
  ])
  const rows: Uint16Array[] = []
  for (let state = 0; state < threadsOf.length && state <= STATE_LIMIT; state++) {
    const row = new Uint16Array(CLASS_LIMIT)
    for (const [c, within] of members.entries()) {
      const { threads, matched } = step(program, threadsOf[state]!, within)
      const key = threads.join()
      let next = numbers.get(key)
      if (next === undefined) {
        next = threadsOf.push(threads) - 1
        numbers.set(key, next)
      }
      row[c] = (next * CLASS_LIMIT) | (matched ? MATCHES : 0)
    }
    rows.push(row)
  }
  return rows
}

/** Runs the threads of a state on the next character, given as the sets that contain it (none at the end of the text). */
function step(program: readonly Instruction[], threads: readonly number[], within: ReadonlySet<CodePointSet>) {
  const next: number[] = []
  const seen = new Set<number>()
  let matched = false
  const visit = (at: number): void => {
    if (matched || seen.has(at)) return
    seen.add(at)
    const instruction = program[at]!
    if (instruction.op === 'match') matched = true
    else if (instruction.op === 'split') instruction.next.forEach(visit)
    else if (instruction.op === 'ahead') {
      if (within.has(instruction.set) !== instruction.negative) visit(instruction.next)
    } else if (within.has(instruction.set) && !next.includes(instruction.next)) next.push(instruction.next)
  }
  threads.forEach(visit)
  return { threads: next, matched }
}

/** State of a scan with the fused table: a state of the plain table and, if it matters, how it was entered. */
interface FusedState {
  readonly state: number
  /** Class of the previous character if a match ended before it; -1 otherwise. */
  readonly matchedBefore: number
}

/**
 * Folds "emit and restart" into the transitions. `  word` requires the second kind of state: only at the `w`, one character
 * late, is it known that all spaces but the last are a token.
 */
function fuse(table: Uint16Array): Uint16Array {
  const states: FusedState[] = [
    { state: 0, matchedBefore: -1 },
    { state: START_STATE, matchedBefore: -1 },
  ]
  const numbers = new Map(states.map(({ state }, number) => [`${state},-1`, number]))
  const enter = (transition: number, kind: number): number => {
    const state = transition & ~MATCHES
    const matters = (transition & MATCHES) !== 0 && mayFail(table, state)
    const matchedBefore = matters ? kind : -1
    const key = `${state},${matchedBefore}`
    const number = numbers.get(key) ?? states.push({ state, matchedBefore }) - 1
    numbers.set(key, number)
    return number * CLASS_LIMIT
  }
  const rows: number[][] = []
  for (let number = 0; number < states.length && number < STATE_LIMIT; number++) {
    const from = states[number]!
    rows.push(Array.from({ length: CLASS_LIMIT }, (_, kind) => fusedTransition(table, from, kind, enter)))
  }
  if (states.length > STATE_LIMIT) throw new PenstockError('UNSUPPORTED', 'the pattern needs too many fused states')
  return Uint16Array.from(rows.flat())
}

/** Whether a scan in this state can fail without ending a match. */
function mayFail(table: Uint16Array, state: number): boolean {
  return table.subarray(state, state + CLASS_LIMIT).includes(0)
}

function fusedTransition(
  table: Uint16Array,
  { state, matchedBefore }: FusedState,
  kind: number,
  enter: (transition: number, kind: number) => number,
): number {
  const transition = table[state + kind]!
  if (transition >= CLASS_LIMIT) return enter(transition, kind)
  if (transition === MATCHES) return enter(table[START_STATE + kind]!, kind) | MATCHES
  if (matchedBefore < 0) return RESCAN
  const restarted = table[START_STATE + matchedBefore]! & ~MATCHES
  const second = table[restarted + kind]!
  if (second >= CLASS_LIMIT) return enter(second, kind) | MATCHED_BEFORE
  return second === MATCHES ? enter(table[START_STATE + kind]!, kind) | MATCHES | MATCHED_BEFORE : RESCAN
}
