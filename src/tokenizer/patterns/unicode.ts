/**
 * Sets of code points, and the classes of Unicode 16 as such sets. The \p{...} of the JavaScript engine is not used: it
 * follows the engine's Unicode version, and one reclassified character would change token ids.
 */
import { NUMERIC_RUNS } from './unicode-crates.js'
import {
  ALPHABETIC_RUNS,
  CATEGORY_NAMES,
  CATEGORY_RUNS,
  HAN_RUNS,
  RUN_LETTERS,
  UNASSIGNED_IN_UNICODE_9_RUNS,
  WHITE_SPACE_RUNS,
} from './unicode-data.js'

/** Sorted half-open intervals, flat: [start, end, start, end, ...]. */
export type CodePointSet = readonly number[]

export const CODE_POINT_LIMIT = 0x110000

export function union(...sets: readonly CodePointSet[]): CodePointSet {
  const intervals = sets.flatMap(set => pairs(set)).sort((a, b) => a[0] - b[0])
  const merged: number[] = []
  for (const [start, end] of intervals) {
    const last = merged.length - 1
    if (last > 0 && start <= merged[last]!) merged[last] = Math.max(merged[last]!, end)
    else merged.push(start, end)
  }
  return merged
}

export function complement(set: CodePointSet): CodePointSet {
  const edges = [0, ...set, CODE_POINT_LIMIT]
  return pairs(edges)
    .filter(([start, end]) => start < end)
    .flat()
}

export function intersection(a: CodePointSet, b: CodePointSet): CodePointSet {
  return complement(union(complement(a), complement(b)))
}

export function contains(set: CodePointSet, codePoint: number): boolean {
  let low = 0
  let high = set.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (set[middle]! <= codePoint) low = middle + 1
    else high = middle
  }
  return low % 2 === 1
}

export function intersects(a: CodePointSet, b: CodePointSet): boolean {
  return pairs(a).some(
    ([start, end]) => contains(b, start) || pairs(b).some(([other]) => other >= start && other < end),
  )
}

export function pairs(set: CodePointSet): [number, number][] {
  const result: [number, number][] = []
  for (let i = 0; i < set.length; i += 2) result.push([set[i]!, set[i + 1]!])
  return result
}

let classes: Map<string, CodePointSet> | undefined

/**
 * The set of a property by its name in a pattern: a general category (`Lu`, `L`; not `Letter`), `Han`, `White_Space`,
 * `Alphabetic`, `RustWord` (\w of Rust's `regex`), `OnigurumaWord` and `OnigurumaWordEscape` ([\w] and \w in tokenizer files), or `RustNumeric`
 * (char::is_numeric, which follows a later Unicode). `undefined` for an unknown name.
 */
export function unicodeClass(name: string): CodePointSet | undefined {
  classes ??= readClasses()
  const known = classes.get(name)
  if (known !== undefined) return known
  const joined = joinedClass(name, classes)
  if (joined !== undefined) classes.set(name, joined)
  return joined
}

/** A class composed of others, built on first use: building all of them takes 10 ms. */
function joinedClass(name: string, known: ReadonlyMap<string, CodePointSet>): CodePointSet | undefined {
  if (name === 'RustWord') return union(unicodeClass('OnigurumaWord')!, [0x200c, 0x200e])
  if (name === 'OnigurumaWord') return union(...['Alphabetic', 'M', 'Nd', 'Pc'].map(part => unicodeClass(part)!))
  // Outside of brackets, \w has the superscripts and fractions of Latin-1 too.
  if (name === 'OnigurumaWordEscape') return union(unicodeClass('OnigurumaWord')!, [0xb2, 0xb4, 0xb9, 0xba, 0xbc, 0xbf])
  if (name === 'RustNumeric') return readRuns(NUMERIC_RUNS, 2)[1]!
  const parts = CATEGORY_NAMES.split(' ').filter(category => category[0] === name)
  return parts.length === 0 ? undefined : union(...parts.map(part => known.get(part)!))
}

/** Code points unassigned in Unicode 9. */
export function unassignedInUnicode9(): CodePointSet {
  unassigned ??= readRuns(UNASSIGNED_IN_UNICODE_9_RUNS, 2)[1]!
  return unassigned
}

let unassigned: CodePointSet | undefined

/** For each code point, the value of its category (`Lu`) or of the category's first letter (`L`); else 0. */
export function categoryTable(marks: Readonly<Record<string, number>>): Uint8Array {
  const table = new Uint8Array(CODE_POINT_LIMIT)
  const values = CATEGORY_NAMES.split(' ').map(name => marks[name] ?? marks[name[0]!] ?? 0)
  eachRun(CATEGORY_RUNS, (index, start, end) => {
    if (values[index] !== 0) table.fill(values[index]!, start, end)
  })
  return table
}

function readClasses(): Map<string, CodePointSet> {
  const byName = new Map<string, CodePointSet>()
  const names = CATEGORY_NAMES.split(' ')
  const categories = readRuns(CATEGORY_RUNS, names.length)
  for (const [index, name] of names.entries()) byName.set(name, categories[index]!)
  byName.set('White_Space', whiteSpace())
  byName.set('Alphabetic', readRuns(ALPHABETIC_RUNS, 2)[1]!)
  byName.set('Han', readRuns(HAN_RUNS, 2)[1]!)
  return byName
}

export function whiteSpace(): CodePointSet {
  return readRuns(WHITE_SPACE_RUNS, 2)[1]!
}

function readRuns(runs: string, count: number): number[][] {
  const sets = Array.from({ length: count }, (): number[] => [])
  eachRun(runs, (index, start, end) => sets[index]!.push(start, end))
  return sets
}

/** Avoids substrings: this runs at the start of every worker. */
export function eachRun(runs: string, use: (index: number, start: number, end: number) => void, letters = 1): void {
  let start = 0
  for (let at = 0; at < runs.length; ) {
    let index = RUN_LETTERS.indexOf(runs[at++]!)
    if (letters === 2) index = index * RUN_LETTERS.length + RUN_LETTERS.indexOf(runs[at++]!)
    let length = 0
    for (let digit = digitAt(runs, at); digit >= 0; digit = digitAt(runs, ++at)) length = length * 36 + digit
    const end = start + Math.max(length, 1)
    use(index, start, end)
    start = end
  }
}

/** A digit of base 36, or -1 at a letter. */
function digitAt(runs: string, at: number): number {
  const unit = runs.charCodeAt(at)
  if (unit >= 0x61) return unit - 0x57
  return unit >= 0x30 && unit <= 0x39 ? unit - 0x30 : -1
}
