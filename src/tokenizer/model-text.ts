/**
 * Takes the vocabulary and the merges straight from the text of a tokenizer.json. JSON.parse makes an object of a hundred
 * thousand keys and as many arrays or strings of them, and the maps made of those cost as much again. Only the plain form
 * of both is read here; with anything else, errors included, the caller goes through JSON.parse.
 */
import type { Merges } from './bpe.js'
import { UnitVocabulary } from './vocabulary.js'

export interface ModelText {
  readonly vocabulary: UnitVocabulary
  readonly merges: Merges
  /** The file with an empty vocabulary and no merges. */
  readonly rest: string
}

/** `undefined` when the model's vocabulary and merges are not in this order, not plain, or not there. */
export function readModelText(text: string): ModelText | undefined {
  const reader = new ModelReader(text)
  try {
    return reader.read()
  } catch (error) {
    if (error === NOT_PLAIN) return undefined
    throw error
  }
}

const NOT_PLAIN = new Error('not plain')

function notPlain(): never {
  throw NOT_PLAIN
}

const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const ESCAPES: ReadonlyMap<string, number> = new Map(
  Object.entries({ '"': 0x22, '\\': 0x5c, '/': 0x2f, b: 8, f: 12, n: 10, r: 13, t: 9 }),
)

class ModelReader {
  private readonly text: string
  private at = 0
  /** Code units of the strings read, up to `used`. */
  private units: Uint16Array = new Uint16Array(1 << 16)
  private used = 0

  constructor(text: string) {
    this.text = text
  }

  read(): ModelText | undefined {
    let found: ModelText | undefined
    this.eachMember(key => {
      if (key !== 'model') return this.skipValue()
      if (found !== undefined) notPlain()
      found = this.readModel()
    })
    return found
  }

  private readModel(): ModelText {
    let vocabulary: UnitVocabulary | undefined
    let merges: Merges | undefined
    let rest = ''
    let taken = 0
    this.eachMember(key => {
      const start = this.at
      if (key === 'vocab') {
        if (vocabulary !== undefined) notPlain()
        vocabulary = this.readVocabulary()
        rest += `${this.text.slice(taken, start)}{}`
        taken = this.at
      } else if (key === 'merges') {
        if (vocabulary === undefined || merges !== undefined) notPlain()
        merges = this.readMerges(vocabulary!)
        rest += `${this.text.slice(taken, start)}[]`
        taken = this.at
      } else this.skipValue()
    })
    if (vocabulary === undefined || merges === undefined) notPlain()
    return { vocabulary: vocabulary!, merges: merges!, rest: rest + this.text.slice(taken) }
  }

  private readVocabulary(): UnitVocabulary {
    const offsets = new NumberList()
    const ids = new NumberList()
    this.used = 0
    this.expect(OPEN_BRACE)
    for (let count = 0; this.hasItem(CLOSE_BRACE, count); count++) {
      offsets.push(this.used)
      this.readString()
      this.expect(COLON)
      ids.push(this.readId())
    }
    offsets.push(this.used)
    const vocabulary = new UnitVocabulary(this.units.slice(0, this.used), offsets.taken(), ids.taken())
    return vocabulary.hasRepeats ? notPlain() : vocabulary
  }

  /** A merge is a list of two tokens or, in older files, a text with a space between them. */
  private readMerges(vocabulary: UnitVocabulary): Merges {
    const lists = { left: new NumberList(), right: new NumberList(), result: new NumberList() }
    this.expect(OPEN_BRACKET)
    for (let count = 0; this.hasItem(CLOSE_BRACKET, count); count++) {
      this.used = 0
      const middle = this.text.charCodeAt(this.at) === QUOTE ? this.readPairInOne() : this.readPair()
      lists.left.push(vocabulary.idOf(this.units, 0, middle))
      lists.right.push(vocabulary.idOf(this.units, middle, this.used))
      lists.result.push(vocabulary.idOf(this.units, 0, this.used))
    }
    const merges = { left: lists.left.taken(), right: lists.right.taken(), result: lists.result.taken() }
    const isUnknown = (id: number): boolean => id === UNKNOWN
    return Object.values(merges).some(ids => ids.some(isUnknown)) ? notPlain() : merges
  }

  /** Leaves the two tokens one behind the other in `units` and returns where the second begins. */
  private readPairInOne(): number {
    this.readString()
    const { units } = this
    let middle = 0
    while (middle < this.used && units[middle] !== SPACE) middle++
    if (middle === this.used) notPlain()
    this.used--
    for (let i = middle; i < this.used; i++) {
      units[i] = units[i + 1]!
      if (units[i] === SPACE) notPlain()
    }
    return middle
  }

  private readPair(): number {
    let middle = 0
    let count = 0
    for (this.expect(OPEN_BRACKET); this.hasItem(CLOSE_BRACKET, count); count++) {
      if (count === 1) middle = this.used
      this.readString()
    }
    return count === 2 ? middle : notPlain()
  }

  private eachMember(read: (key: string) => void): void {
    this.expect(OPEN_BRACE)
    for (let count = 0; this.hasItem(CLOSE_BRACE, count); count++) {
      const start = this.at
      this.skipString()
      const key = this.text.slice(start + 1, this.at - 1)
      if (key.includes('\\')) notPlain()
      this.expect(COLON)
      read(key)
    }
  }

  /** Whether another item follows the `count` ones already read; passes what separates it, or the closing bracket. */
  private hasItem(close: number, count: number): boolean {
    this.skipSpaces()
    const unit = this.text.charCodeAt(this.at)
    if (unit !== close && count === 0) return true
    if (unit !== close && unit !== COMMA) notPlain()
    this.at++
    if (unit === close) return false
    this.skipSpaces()
    return true
  }

  private expect(unit: number): void {
    this.skipSpaces()
    if (this.text.charCodeAt(this.at) !== unit) notPlain()
    this.at++
    this.skipSpaces()
  }

  private skipSpaces(): void {
    const { text } = this
    let unit = text.charCodeAt(this.at)
    while (unit === SPACE || (unit >= 9 && unit <= 13 && unit !== 11 && unit !== 12)) unit = text.charCodeAt(++this.at)
  }

  private readId(): number {
    const { text } = this
    const start = this.at
    let id = 0
    for (let digit = text.charCodeAt(this.at) - 48; digit >= 0 && digit <= 9; digit = text.charCodeAt(this.at) - 48) {
      id = id * 10 + digit
      this.at++
    }
    const isPlain = this.at > start && this.at - start < 10 && (text[start] !== '0' || this.at - start === 1)
    return isPlain ? id : notPlain()
  }

  /** Appends the string's code units to `units`. */
  private readString(): void {
    const { text } = this
    let { units, used } = this
    if (text.charCodeAt(this.at) !== QUOTE) notPlain()
    let at = this.at + 1
    for (let unit = text.charCodeAt(at); unit !== QUOTE; unit = text.charCodeAt(at)) {
      at++
      if (used === units.length) units = this.growUnits()
      if (unit === BACKSLASH) {
        const letter = text[at++] ?? ''
        const code = letter === 'u' ? hexadecimal(text.slice(at, at + 4)) : ESCAPES.get(letter)
        if (code === undefined) notPlain()
        units[used++] = code!
        if (letter === 'u') at += 4
      } else if (unit >= SPACE) units[used++] = unit
      else notPlain()
    }
    this.at = at + 1
    this.used = used
  }

  private growUnits(): Uint16Array {
    const longer = new Uint16Array(this.units.length * 2)
    longer.set(this.units)
    this.units = longer
    return longer
  }

  private skipString(): void {
    const { text } = this
    if (text.charCodeAt(this.at) !== QUOTE) notPlain()
    let at = this.at + 1
    while (text.charCodeAt(at) !== QUOTE) {
      if (at >= text.length) notPlain()
      at += text.charCodeAt(at) === BACKSLASH ? 2 : 1
    }
    this.at = at + 1
  }

  /** What is skipped is left to JSON.parse to judge. */
  private skipValue(): void {
    let depth = 0
    for (; this.at < this.text.length; this.at++) {
      const unit = this.text.charCodeAt(this.at)
      if (unit === QUOTE) {
        this.skipString()
        this.at--
      } else if (unit === OPEN_BRACE || unit === OPEN_BRACKET) depth++
      else if (depth === 0 && (unit === COMMA || unit === CLOSE_BRACE)) return
      else if (unit === CLOSE_BRACE || unit === CLOSE_BRACKET) depth--
    }
    notPlain()
  }
}

/** Code unit of four hexadecimal digits. */
function hexadecimal(digits: string): number | undefined {
  return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : undefined
}

/** What -1 is among unsigned numbers. */
const UNKNOWN = 0xffffffff

/** A list of u32 that grows. */
class NumberList {
  private numbers = new Uint32Array(1 << 16)
  private length = 0

  push(number: number): void {
    if (this.length === this.numbers.length) {
      const longer = new Uint32Array(this.length * 2)
      longer.set(this.numbers)
      this.numbers = longer
    }
    this.numbers[this.length++] = number
  }

  taken(): Uint32Array {
    return this.numbers.slice(0, this.length)
  }
}
