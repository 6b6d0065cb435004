/**
 * Validates one JSONL record against RFC 8259 and UTF-8 and extracts the text of one field, without building values.
 * Accepts what JSON.parse accepts after strict UTF-8 decoding: no byte-order mark, no NaN. This is the reference
 * implementation of assembly/text/json.ts, which must give the same results. All lines share one scanner, since an object
 * per line would allocate gigabytes for files of short lines.
 */

type ScanFaultCode = 'JSON_INVALID' | 'UTF8_INVALID' | 'LINE_BLANK'
type FieldFaultCode = 'FIELD_MISSING' | 'FIELD_NOT_TEXT'

export interface ScanFault<Code = ScanFaultCode> {
  readonly ok: false
  readonly code: Code
  /** Position in `bytes`. */
  readonly offset: number
  readonly message: string
}

export type ScanResult = { readonly ok: true } | ScanFault
/** Byte length of the text, or the fault. */
export type ExtractResult = number | ScanFault<ScanFaultCode | FieldFaultCode>

/** Path to a field: object keys and array indices, outermost first. */
export type FieldPath = readonly (string | number)[]

/** Maximum nesting depth, which bounds the stack. */
export const DEPTH_LIMIT = 65_536

/** Validates the record bytes[start, end). A syntax fault is reported before an encoding fault. */
export function scanLine(bytes: Uint8Array, start: number, end: number): ScanResult {
  return scanner.scan(bytes, start, end, NO_PATH)
}

/**
 * Validates the record and writes the text at `path`, as unescaped UTF-8, to out[at...], which needs end - start bytes of
 * space. The last of repeated keys counts. A lone surrogate escape becomes U+FFFD, as in JavaScript's encoder.
 */
export function extractText(
  bytes: Uint8Array,
  start: number,
  end: number,
  path: FieldPath,
  out: Uint8Array,
  at = 0,
): ExtractResult {
  const result = scanner.scan(bytes, start, end, path)
  if (!result.ok) return result
  const { fieldStart, fieldKind } = scanner
  if (fieldKind === 'text') return unescapeText(bytes, fieldStart, out, at) - at
  const name = path.join('.')
  return fieldKind === 'none'
    ? { ok: false, code: 'FIELD_MISSING', offset: start, message: `the record has no field ${name}` }
    : { ok: false, code: 'FIELD_NOT_TEXT', offset: fieldStart, message: `the field ${name} is not a string` }
}

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const LITERALS = ['true', 'false', 'null']
const NO_BYTES = new Uint8Array(0)
const NO_PATH: FieldPath = []
const OK = { ok: true } as const

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === 0x0a
const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39

class LineScanner {
  /** Result of the path: no value, a string (`fieldStart` is after its quote), or another value. */
  fieldKind: 'none' | 'text' | 'other' = 'none'
  fieldStart = 0
  private bytes: Uint8Array = NO_BYTES
  private end = 0
  private requestedPath = NO_PATH
  /** `requestedPath` with its keys in UTF-8. */
  private path: readonly (Uint8Array | number)[] = []
  private at = 0
  private hasHighBytes = false
  /** Number of open containers. */
  private depth = 0
  /** Whether each open container is an object. */
  private readonly isObject: boolean[] = []
  /** Index of the current element in each open array. */
  private readonly counts: number[] = []
  /** Number of open containers, from the outermost, that are on the path. */
  private onPath = 0
  /** Whether the next value is on the path. */
  private isOnPath = true
  /** Whether the next value is the first of its container. */
  private isFirst = false
  private isComplete = false

  scan(bytes: Uint8Array, start: number, end: number, path: FieldPath): ScanResult {
    this.begin(bytes, start, end, path)
    const result = this.scanRecord(start)
    // The scanner is global and must not retain a batch.
    this.bytes = NO_BYTES
    return result
  }

  private begin(bytes: Uint8Array, start: number, end: number, path: FieldPath): void {
    if (path !== this.requestedPath) {
      const encoder = new TextEncoder()
      this.path = path.map(part => (typeof part === 'string' ? encoder.encode(part) : part))
      this.requestedPath = path
    }
    this.bytes = bytes
    this.end = end
    this.at = start
    this.fieldKind = 'none'
    this.fieldStart = 0
    this.hasHighBytes = false
    this.depth = 0
    this.onPath = 0
    this.isOnPath = true
    this.isFirst = false
    this.isComplete = false
  }

  private scanRecord(start: number): ScanResult {
    this.skipSpaces()
    if (this.at >= this.end) return { ok: false, code: 'LINE_BLANK', offset: start, message: 'the line is blank' }
    const message = this.scanValues()
    if (message !== undefined) {
      const offset = Math.min(this.at, this.end)
      return {
        ok: false,
        code: 'JSON_INVALID',
        offset,
        message: explainFault(message, this.bytes, start, offset, this.end),
      }
    }
    const invalid = this.hasHighBytes ? firstInvalidUtf8(this.bytes, start, this.end) : -1
    if (invalid >= 0) return { ok: false, code: 'UTF8_INVALID', offset: invalid, message: 'bytes that are not UTF-8' }
    return OK
  }

  private peek(): number {
    return this.at < this.end ? this.bytes[this.at]! : -1
  }

  private skipSpaces(): void {
    while (isSpace(this.peek())) this.at++
  }

  /** Scans one value including nested ones; returns a message for a fault. */
  private scanValues(): string | undefined {
    let fault = this.scanValueStart()
    while (fault === undefined) {
      fault = this.closeCompleted() ?? this.scanSeparator()
      if (fault !== undefined || this.isComplete) return fault
      fault = this.scanValueStart()
    }
    return fault
  }

  /** A scalar, or the opening of a container. */
  private scanValueStart(): string | undefined {
    this.skipSpaces()
    const byte = this.peek()
    const isField = this.isOnPath && this.depth === this.path.length
    // A repeated key: the value found before does not count.
    if (this.isOnPath) this.fieldKind = 'none'
    if (isField) {
      this.fieldKind = byte === QUOTE ? 'text' : 'other'
      this.fieldStart = byte === QUOTE ? this.at + 1 : this.at
    }
    this.isFirst = byte === OPEN_BRACE || byte === OPEN_BRACKET
    if (this.isFirst) return this.open(byte === OPEN_BRACE, this.isOnPath && !isField)
    if (byte === QUOTE) return this.scanString()
    return byte === MINUS || isDigit(byte) ? this.scanNumber() : this.scanLiteral()
  }

  private closeCompleted(): string | undefined {
    for (;;) {
      this.skipSpaces()
      this.isComplete = this.depth === 0
      if (this.isComplete) return this.at < this.end ? 'unexpected text after the value' : undefined
      if (this.peek() !== (this.isObject[this.depth - 1]! ? CLOSE_BRACE : CLOSE_BRACKET)) return undefined
      this.close()
      this.isFirst = false
    }
  }

  /** Scans the separator before a value: a comma unless the container was just opened, and a key in an object. */
  private scanSeparator(): string | undefined {
    if (this.isComplete) return undefined
    const { depth } = this
    const inObject = this.isObject[depth - 1]!
    if (!this.isFirst) {
      if (this.peek() !== COMMA) return `expected a comma or the end of the ${inObject ? 'object' : 'array'}`
      this.at++
      this.counts[depth - 1]!++
      this.skipSpaces()
    }
    const part = this.onPath === depth ? this.path[depth - 1] : undefined
    this.isOnPath = part !== undefined && part === this.counts[depth - 1] && !inObject
    return inObject ? this.scanKey(part) : undefined
  }

  private open(isObject: boolean, isOnPath: boolean): string | undefined {
    if (this.depth === DEPTH_LIMIT) return `containers nested deeper than ${DEPTH_LIMIT}`
    this.at++
    this.isObject[this.depth] = isObject
    this.counts[this.depth] = 0
    this.depth++
    if (isOnPath) this.onPath = this.depth
    return undefined
  }

  private close(): void {
    this.at++
    this.depth--
    this.onPath = Math.min(this.onPath, this.depth)
  }

  private scanKey(wanted: Uint8Array | number | undefined): string | undefined {
    if (this.peek() !== QUOTE) return 'expected a key'
    const from = this.at + 1
    const fault = this.scanString()
    if (fault !== undefined) return fault
    this.isOnPath = wanted instanceof Uint8Array && this.keyIs(wanted, from)
    this.skipSpaces()
    if (this.peek() !== COLON) return 'expected a colon after the key'
    this.at++
    return undefined
  }

  private keyIs(wanted: Uint8Array, from: number): boolean {
    const { bytes } = this
    const to = this.at - 1
    // An escape is longer than the character it encodes: only a key with escapes may be longer than the wanted one.
    if (to - from > wanted.length && hasEscape(bytes, from, to)) {
      const key = new Uint8Array(to - from)
      return isEqual(wanted, key, 0, unescapeText(bytes, from, key, 0))
    }
    return isEqual(wanted, bytes, from, to) && !hasEscape(bytes, from, to)
  }

  private scanString(): string | undefined {
    for (this.at++; ; this.at++) {
      const byte = this.peek()
      if (byte === QUOTE) {
        this.at++
        return undefined
      }
      if (byte === BACKSLASH) {
        this.at++
        const length = escapeLength(this.bytes, this.at, this.end)
        if (length === 0) return 'invalid escape in a string'
        this.at += length - 1
      } else if (byte < 0x20)
        return byte < 0 ? 'the line ends inside a string' : 'unescaped control character in a string'
      else if (byte >= 0x80) this.hasHighBytes = true
    }
  }

  private scanNumber(): string | undefined {
    if (this.peek() === MINUS) this.at++
    if (this.peek() === 0x30) this.at++
    else if (!this.scanDigits()) return 'number without digits'
    if (this.peek() === 0x2e) {
      this.at++
      if (!this.scanDigits()) return 'no digits after the decimal point'
    }
    if ((this.peek() | 0x20) === 0x65) {
      this.at++
      if (this.peek() === 0x2b || this.peek() === MINUS) this.at++
      if (!this.scanDigits()) return 'no digits in the exponent'
    }
    return undefined
  }

  private scanDigits(): boolean {
    const from = this.at
    while (isDigit(this.peek())) this.at++
    return this.at > from
  }

  private scanLiteral(): string | undefined {
    const { bytes, at, end } = this
    const literal = LITERALS.find(
      word => at + word.length <= end && [...word].every((char, i) => bytes[at + i] === char.charCodeAt(0)),
    )
    if (literal === undefined) return at < end ? 'expected a value' : 'the line ends before the value is complete'
    this.at += literal.length
    return undefined
  }
}

const scanner = new LineScanner()

/** Bytes that follow a fault, to be named in its message. */
const SHOWN_BYTES = 12

/** Values that other programs write although JSON has none of them. */
const FOREIGN_VALUES: Readonly<Record<string, string>> = {
  NaN: 'null',
  Infinity: 'null',
  undefined: 'null',
  None: 'null',
  True: 'true',
  False: 'false',
}

/** Adds what was found at a fault, and for the usual causes the remedy. */
function explainFault(message: string, bytes: Uint8Array, start: number, at: number, end: number): string {
  const isFirst = at === start
  const [first, second, third] = bytes.subarray(at, Math.min(end, at + 3))
  if (isFirst && first === 0xef && second === 0xbb && third === 0xbf) {
    return 'UTF-8 byte-order mark before the record: save the file without a byte-order mark'
  }
  if (isFirst && ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))) {
    return 'UTF-16 byte-order mark: convert the file to UTF-8'
  }
  if (first === 0)
    return `${message}, found a NUL byte (U+0000): the file is damaged, or it is UTF-16 and must be UTF-8`
  const text = String.fromCharCode(...bytes.subarray(at, Math.min(end, at + SHOWN_BYTES)))
  const word = /^[A-Za-z]+/.exec(text)?.[0] ?? ''
  const replacement = FOREIGN_VALUES[word]
  if (replacement !== undefined) return `${word} is not a JSON value: write ${replacement} instead`
  if (!message.startsWith('expected') || first === undefined) return message
  const found = word || text[0]!
  return `${message}, found ${/^[ -~]+$/.test(found) ? found : `byte 0x${first.toString(16).padStart(2, '0')}`}`
}

function hasEscape(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at] === BACKSLASH) return true
  return false
}

function isEqual(wanted: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from !== wanted.length) return false
  for (let i = 0; i < wanted.length; i++) if (wanted[i] !== bytes[from + i]) return false
  return true
}

/** Characters encoded by one-letter escapes. */
const SIMPLE_ESCAPES: ReadonlyMap<number, number> = new Map(
  [
    ['"', '"'],
    ['\\', '\\'],
    ['/', '/'],
    ['b', '\b'],
    ['f', '\f'],
    ['n', '\n'],
    ['r', '\r'],
    ['t', '\t'],
  ].map(([letter, meaning]) => [letter!.charCodeAt(0), meaning!.charCodeAt(0)]),
)

/** Length of the escape whose backslash precedes `at`, or 0 if it is invalid. */
function escapeLength(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return 0
  if (SIMPLE_ESCAPES.has(bytes[at]!)) return 1
  return bytes[at] === 0x75 && at + 5 <= end && hexAt(bytes, at + 1) >= 0 ? 5 : 0
}

function hexAt(bytes: Uint8Array, at: number): number {
  let value = 0
  for (let i = at; i < at + 4; i++) {
    const byte = bytes[i]!
    const lower = byte | 0x20
    const digit = isDigit(byte) ? byte - 0x30 : lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
    if (digit < 0) return -1
    value = value * 16 + digit
  }
  return value
}

/** Writes the validated string that starts at `from` to out[at...], up to its quote; returns the end in `out`. */
function unescapeText(bytes: Uint8Array, from: number, out: Uint8Array, at: number): number {
  let to = at
  for (let i = from; bytes[i] !== QUOTE; i++) {
    if (bytes[i] !== BACKSLASH) {
      out[to++] = bytes[i]!
      continue
    }
    const meaning = SIMPLE_ESCAPES.get(bytes[++i]!)
    if (meaning !== undefined) {
      out[to++] = meaning
      continue
    }
    let codePoint = hexAt(bytes, i + 1)
    i += 4
    if ((codePoint & 0xf800) === 0xd800) {
      const low = bytes[i + 1] === BACKSLASH && bytes[i + 2] === 0x75 ? hexAt(bytes, i + 3) : -1
      const isPair = codePoint < 0xdc00 && (low & 0xfffffc00) === 0xdc00
      codePoint = isPair ? 0x10000 + ((codePoint & 0x3ff) << 10) + (low & 0x3ff) : 0xfffd
      if (isPair) i += 6
    }
    to = putCodePoint(codePoint, out, to)
  }
  return to
}

function putCodePoint(codePoint: number, out: Uint8Array, at: number): number {
  let to = at
  const following = codePoint < 0x80 ? 0 : codePoint < 0x800 ? 1 : codePoint < 0x10000 ? 2 : 3
  const lead = [0, 0xc0, 0xe0, 0xf0][following]!
  out[to++] = lead | (codePoint >> (6 * following))
  for (let i = following - 1; i >= 0; i--) out[to++] = 0x80 | ((codePoint >> (6 * i)) & 0x3f)
  return to
}

/** Offset of the first byte that does not start a UTF-8 sequence, or -1. */
export function firstInvalidUtf8(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end; ) {
    const length = utf8Length(bytes, at, end)
    if (length === 0) return at
    at += length
  }
  return -1
}

/** Length of the well-formed sequence at `at`, or 0: overlong forms, surrogates and values above U+10FFFF are rejected. */
function utf8Length(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at]!
  if (lead < 0x80) return 1
  const length = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) === 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0
  if (length === 0 || at + length > end) return 0
  for (let i = 1; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0
  const second = bytes[at + 1]!
  const isOverlong = (lead === 0xe0 && second < 0xa0) || (lead === 0xf0 && second < 0x90)
  const isBeyond = (lead === 0xed && second > 0x9f) || (lead === 0xf4 && second > 0x8f)
  return isOverlong || isBeyond ? 0 : length
}
