/**
 * Compiles a parsed pattern to a table-driven automaton over classes of code points, with the leftmost-first meaning of
 * backtracking engines: a state is the ordered list of threads that such an engine would still try, and a match cuts off
 * the threads after it. One character of look-ahead is the class of the next character itself.
 */
import { PenstockError } from '../../errors.js'
import { parseRegex, type RegexNode } from './regex.js'
import { CODE_POINT_LIMIT, type CodePointSet, contains, intersects } from './unicode.js'

/** Row length of the table: at most 63 classes and the text's end, which is class 0. */
const CLASS_LIMIT = 64
/** Set in a transition: the pattern matches up to the character that was looked at, that character outside. */
export const MATCHES = 1
/** Set in a fused transition: neither goes on nor matches; the token is to be found again with the plain table. */
const RESCAN = 2
/** Set in a fused transition: a token begins at the character before this one. */
const MATCHED_BEFORE = 4
/** States are counted in multiples of CLASS_LIMIT in 16 bits. */
const STATE_LIMIT = 1000
/** Of the program that states are made of; patterns in use have some hundred. Nested repeats multiply. */
const INSTRUCTION_LIMIT = 4000
export const START_STATE = CLASS_LIMIT

export interface Dfa {
  readonly source: string
  /** Class of each code point. */
  readonly classes: Uint8Array
  /** table[state + class] = next state (a multiple of 64, 0: dead) | MATCHES. */
  readonly table: Uint16Array
  /** The same with "emit and start again" folded in: MATCHES there means that a token begins at this character. */
  readonly fused: Uint16Array
}

type Instruction =
  | { readonly op: 'set'; readonly set: CodePointSet; readonly next: number }
  | { readonly op: 'ahead'; readonly set: CodePointSet; readonly negative: boolean; readonly next: number }
  | { readonly op: 'split'; next: number[] }
  | { readonly op: 'match' }

/** @throws UNSUPPORTED when the pattern is outside the subset, can match nothing, or needs too large a table */
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
      throw new PenstockError('UNSUPPORTED', `the pattern ${source} matches nothing at all`)
  }
  return { source, classes, table, fused: fuse(table) }
}

/** A program in which instruction 0 matches and the last one starts. */
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
      case 'ahead':
        return add({ op: 'ahead', set: node.set, negative: node.negative, next })
      case 'sequence':
        return node.items.reduceRight((following, item) => generate(item, following), next)
      case 'choice':
        return add({ op: 'split', next: node.options.map(option => generate(option, next)) })
      case 'repeat':
        return generateRepeat(node, next)
    }
  }
  const generateRepeat = (node: RegexNode & { kind: 'repeat' }, next: number): number => {
    if (node.possessive) refusePossessive(node.item, program, next)
    let entry = next
    if (node.max === Number.POSITIVE_INFINITY) {
      const loop: Instruction = { op: 'split', next: [] }
      entry = add(loop)
      loop.next = [generate(node.item, entry), next]
    } else {
      for (let i = node.min; i < node.max; i++) entry = add({ op: 'split', next: [generate(node.item, entry), next] })
    }
    for (let i = 0; i < node.min; i++) entry = generate(node.item, entry)
    return entry
  }

  const start = generate(root, 0)
  program.push({ op: 'split', next: [start] })
  return program
}

/** A possessive repeat equals a greedy one where giving a character back could never help what follows. */
function refusePossessive(item: RegexNode, program: readonly Instruction[], next: number): void {
  if (item.kind === 'set' && firstSets(program, next).every(set => !intersects(set, item.set))) return
  throw new PenstockError('UNSUPPORTED', 'the pattern has a possessive repeat whose characters may also follow it')
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

/** Classes of code points that no set of the program tells apart, and for each class the sets it lies in. */
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

/** Runs the threads of a state on the next character, given as the sets it lies in (the text's end: none). */
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

/** Where a scan with the fused table stands: a state of the plain table and, when it could matter, how it was entered. */
interface FusedState {
  readonly state: number
  /** Class of the character before, if a match ended in front of it; -1 otherwise. */
  readonly matchedBefore: number
}

/**
 * Folds "emit and start again" into the transitions. `  word` is the case that made the second kind of state worth it:
 * that the spaces but the last are a token is known only at the `w`, one character too late.
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

/** Whether a scan in this state can come to an end that is not the end of a match. */
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
