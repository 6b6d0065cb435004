/** Reads a model's vocabulary and merges from the bytes of their JSON text. lists.ts does the same in WebAssembly. */
import type { Merges } from '../engine/bpe.js'
import { type PackedVocabulary, packVocabulary } from '../engine/byte-level.js'
import { UnitVocabulary } from '../engine/vocabulary.js'
import {
  BACKSLASH,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  notPlain,
  OPEN_BRACE,
  OPEN_BRACKET,
  PlainJson,
  QUOTE,
  SPACE,
} from './plain-json.js'

/** Throws through `notPlain` if a list is not in plain form. */
export interface ModelLists {
  /** Reads the object whose brace is text[start]. */
  vocabulary(start: number): UnitVocabulary
  /** Reads the list whose bracket is text[start], after the vocabulary. */
  merges(start: number, vocabulary: UnitVocabulary): Merges
  /** The vocabulary read before, as that of a byte-level model. */
  words(vocabulary: UnitVocabulary): PackedVocabulary
  /** End of the last list read. */
  readonly end: number
}

const ESCAPES: ReadonlyMap<string, number> = new Map(
  Object.entries({ '"': 0x22, '\\': 0x5c, '/': 0x2f, b: 8, f: 12, n: 10, r: 13, t: 9 }),
)

export class TypeScriptLists extends PlainJson implements ModelLists {
  /** Code units of the strings read, up to `used`. */
  private units: Uint16Array = new Uint16Array(1 << 16)
  private used = 0

  get end(): number {
    return this.at
  }

  vocabulary(start: number): UnitVocabulary {
    const offsets = new NumberList()
    const ids = new NumberList()
    this.used = 0
    this.at = start
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
  merges(start: number, vocabulary: UnitVocabulary): Merges {
    const lists = { left: new NumberList(), right: new NumberList(), result: new NumberList() }
    this.at = start
    this.expect(OPEN_BRACKET)
    for (let count = 0; this.hasItem(CLOSE_BRACKET, count); count++) {
      this.used = 0
      const middle = this.text[this.at] === QUOTE ? this.readPairInOne() : this.readPair()
      lists.left.push(vocabulary.idOf(this.units, 0, middle))
      lists.right.push(vocabulary.idOf(this.units, middle, this.used))
      lists.result.push(vocabulary.idOf(this.units, 0, this.used))
    }
    const merges = { left: lists.left.taken(), right: lists.right.taken(), result: lists.result.taken() }
    const isUnknown = (id: number): boolean => id === UNKNOWN
    return Object.values(merges).some(ids => ids.some(isUnknown)) ? notPlain() : merges
  }

  words(vocabulary: UnitVocabulary): PackedVocabulary {
    return packVocabulary(vocabulary)
  }

  /** Leaves the two tokens back to back in `units` and returns the start of the second. */
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

  private readId(): number {
    const { text } = this
    const start = this.at
    let id = 0
    for (let digit = text[this.at]! - 48; digit >= 0 && digit <= 9; digit = text[this.at]! - 48) {
      id = id * 10 + digit
      this.at++
    }
    const isPlain = this.at > start && this.at - start < 10 && (text[start] !== 48 || this.at - start === 1)
    return isPlain ? id : notPlain()
  }

  /** Appends the code units of a string to `units`. */
  private readString(): void {
    const { text } = this
    if (text[this.at] !== QUOTE) notPlain()
    this.at++
    for (let byte = text[this.at]; byte !== QUOTE; byte = text[this.at]) {
      if (this.used + 2 > this.units.length) this.growUnits()
      if (byte === undefined || byte < SPACE) notPlain()
      else if (byte === BACKSLASH) this.units[this.used++] = this.readEscape()
      else if (byte < 0x80) {
        this.units[this.used++] = byte
        this.at++
      } else this.readSequence(byte)
    }
    this.at++
  }

  private readEscape(): number {
    const letter = String.fromCharCode(this.text[this.at + 1] ?? 0)
    if (letter !== 'u') {
      this.at += 2
      return ESCAPES.get(letter) ?? notPlain()
    }
    const digits = String.fromCharCode(...this.text.subarray(this.at + 2, this.at + 6))
    this.at += 6
    return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : notPlain()
  }

  /** A multi-byte character. */
  private readSequence(lead: number): void {
    const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    let codePoint = lead & (0xff >> (length + 1))
    for (let i = 1; i < length; i++) {
      const byte = this.text[this.at + i] ?? 0
      if ((byte & 0xc0) !== 0x80) notPlain()
      codePoint = (codePoint << 6) | (byte & 0x3f)
    }
    const isSurrogate = codePoint >= 0xd800 && codePoint < 0xe000
    if (codePoint < SMALLEST[length]! || codePoint > 0x10ffff || isSurrogate || lead < 0xc0 || lead >= 0xf8) notPlain()
    this.at += length
    if (codePoint < 0x10000) this.units[this.used++] = codePoint
    else {
      this.units[this.used++] = 0xd7c0 + (codePoint >> 10)
      this.units[this.used++] = 0xdc00 | (codePoint & 0x3ff)
    }
  }

  private growUnits(): void {
    const longer = new Uint16Array(this.units.length * 2)
    longer.set(this.units)
    this.units = longer
  }
}

/** Smallest code point of a sequence by its length. */
const SMALLEST = [0, 0, 0x80, 0x800, 0x10000]

/** -1 as an unsigned number. */
const UNKNOWN = 0xffffffff

/** A growing list of u32. */
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
