/**
 * Splits a stream of JSON that is not JSONL into records: the elements of an array or concatenated values, optionally at a
 * path inside each document. Records are copied byte for byte, without the white space between tokens, so numbers, escapes
 * and the order of keys are kept. Memory is bounded by the largest record.
 */
import { PenstockError } from '../errors.js'
import { scanLine } from './json-scan.js'

export interface JsonSplitOptions {
  /** array: records are the elements of one array; values: records are whole values. */
  readonly shape: 'array' | 'values'
  /** Keys and indices from the top of each document to the array or value. */
  readonly path: readonly string[]
  /** Maximum size of a record, key or other value. */
  readonly maxRecordBytes: number
  /** Name of the input, for errors. */
  readonly source: string
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const SPACE = 0x20

const isSpace = (byte: number): boolean => byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09
const isOpening = (byte: number): boolean => byte === OPEN_BRACKET || byte === OPEN_BRACE
const isClosing = (byte: number): boolean => byte === CLOSE_BRACKET || byte === CLOSE_BRACE
/** Bytes that end a number or literal. */
const isDelimiter = (byte: number): boolean =>
  byte === COMMA || byte === COLON || byte === QUOTE || isSpace(byte) || isOpening(byte) || isClosing(byte)

/** Position of the next quote or backslash in a string, or the end of the chunk. */
function endOfPlainText(chunk: Uint8Array, start: number): number {
  let end = start
  while (end < chunk.length && chunk[end] !== QUOTE && chunk[end] !== BACKSLASH) end++
  return end
}

interface Container {
  readonly isObject: boolean
  /** Whether its values can be on the path: all containers around it are. */
  readonly isOnPath: boolean
  /** Index of the current element. */
  index: number
  /** Whether the current value is the next step of the path. */
  isSelected: boolean
}

export class JsonSplitter {
  private readonly options: JsonSplitOptions
  /** Depth of the containers around a record. */
  private readonly recordDepth: number
  private readonly containers: Container[] = []
  private expected: 'value' | 'value or end' | 'key' | 'key or end' | 'colon' | 'comma or end' | 'nothing' = 'value'
  private offset = 0
  private documents = 0
  private selections = 0

  /** The value or key being copied, without white space between its tokens. */
  private copy = new Uint8Array(0)
  private length = 0
  private copying: 'record' | 'scalar' | 'key' | undefined
  private copyStart = 0
  private openInCopy = 0
  private isInString = false
  private isEscaped = false
  private sawSpace = false

  constructor(options: JsonSplitOptions) {
    this.options = options
    this.recordDepth = options.path.length + (options.shape === 'array' ? 1 : 0)
  }

  /** The records that end in a chunk. Each is valid until the next one. @throws JSON_INVALID, LINE_TOO_LONG */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < chunk.length; at++, this.offset++) {
      if (this.isInString && !this.isEscaped) {
        const end = endOfPlainText(chunk, at)
        this.appendRun(chunk, at, end)
        this.offset += end - at
        if (end === chunk.length) return
        at = end
      }
      const byte = chunk[at]!
      // A number or literal ends before the byte that follows it.
      if (this.copying !== undefined && this.isAtEndOfScalar(byte)) {
        const record = this.endCopy()
        if (record !== undefined) yield record
      }
      if (this.copying === undefined) {
        if (!isSpace(byte)) this.structure(byte)
      } else if (this.copyByte(byte)) {
        const record = this.endCopy()
        if (record !== undefined) yield record
      }
    }
  }

  /** The last record, if it ends with the input. @throws JSON_INVALID; OPTION_INVALID if nothing is at the path */
  *finish(): Generator<Uint8Array> {
    if (this.copying !== undefined) {
      if (this.isInString || this.openInCopy > 0) throw this.invalid('the input ends inside a value', this.copyStart)
      const record = this.endCopy()
      if (record !== undefined) yield record
    }
    if (this.containers.length > 0) throw this.invalid('the input ends inside an array or object')
    const { shape, path } = this.options
    if (shape === 'array' && this.documents === 0) throw this.invalid('expected an array, found an empty input')
    if (path.length > 0 && this.documents > 0 && this.selections === 0) {
      throw new PenstockError('OPTION_INVALID', `no value at ${path.join('.')} in ${this.options.source}`, {
        path: 'pick',
      })
    }
  }

  private isAtEndOfScalar(byte: number): boolean {
    return !this.isInString && this.openInCopy === 0 && this.length > 0 && isDelimiter(byte)
  }

  /** Copies a byte of a value; returns whether the value is complete. */
  private copyByte(byte: number): boolean {
    if (this.isInString) {
      this.append(byte)
      if (this.isEscaped) this.isEscaped = false
      else if (byte === BACKSLASH) this.isEscaped = true
      else if (byte === QUOTE) {
        this.isInString = false
        return this.openInCopy === 0
      }
      return false
    }
    if (isSpace(byte)) {
      this.sawSpace = true
      return false
    }
    // Keeps `1 2` apart, which is an error that must not become 12.
    if (this.sawSpace && !isDelimiter(byte) && !isDelimiter(this.copy[this.length - 1]!)) this.append(SPACE)
    this.sawSpace = false
    this.append(byte)
    if (byte === QUOTE) this.isInString = true
    else if (isOpening(byte)) this.openInCopy++
    else if (isClosing(byte)) return --this.openInCopy === 0
    return false
  }

  private append(byte: number): void {
    this.reserve(1)
    this.copy[this.length++] = byte
  }

  private appendRun(bytes: Uint8Array, start: number, end: number): void {
    this.reserve(end - start)
    this.copy.set(bytes.subarray(start, end), this.length)
    this.length += end - start
  }

  private reserve(count: number): void {
    if (this.length + count <= this.copy.length) return
    const { maxRecordBytes } = this.options
    if (this.length + count > maxRecordBytes) {
      throw this.invalid(`a value of more than ${maxRecordBytes} bytes`, this.copyStart, 'LINE_TOO_LONG')
    }
    const larger = new Uint8Array(Math.min(maxRecordBytes, 2 * (this.length + count)))
    larger.set(this.copy.subarray(0, this.length))
    this.copy = larger
  }

  /** Handles a byte outside of copied values. */
  private structure(byte: number): void {
    const container = this.containers.at(-1)
    if (this.expected === 'nothing') throw this.invalid('unexpected text after the document')
    if (this.expected === 'colon') {
      if (byte !== COLON) throw this.invalid('expected a colon after the key')
      this.expected = 'value'
    } else if (this.expected === 'comma or end' && byte === COMMA) {
      container!.index++
      this.expected = container!.isObject ? 'key' : 'value'
    } else if (isClosing(byte)) {
      this.close(byte)
    } else if (this.expected === 'comma or end') {
      throw this.invalid('expected a comma or the end of the array or object')
    } else if (this.expected === 'key' || this.expected === 'key or end') {
      if (byte !== QUOTE) throw this.invalid('expected a key')
      this.beginCopy('key', byte)
    } else {
      this.beginValue(byte, container)
    }
  }

  private beginValue(byte: number, container: Container | undefined): void {
    if (byte === COMMA || byte === COLON) throw this.invalid('expected a value')
    const depth = this.containers.length
    const { path, shape } = this.options
    if (depth === 0) this.documents++
    if (container !== undefined && !container.isObject) this.select(container, String(container.index))
    const isOnPath = container === undefined || (container.isOnPath && container.isSelected)
    if (isOnPath && depth === path.length) {
      this.selections++
      if (shape === 'array' && byte !== OPEN_BRACKET) {
        throw this.invalid(`expected an array${path.length === 0 ? '' : ` at ${path.join('.')}`}`)
      }
    }
    if (isOnPath && depth === this.recordDepth) this.beginCopy('record', byte)
    else if (isOpening(byte)) {
      this.containers.push({ isObject: byte === OPEN_BRACE, isOnPath, index: 0, isSelected: false })
      this.expected = byte === OPEN_BRACE ? 'key or end' : 'value or end'
    } else this.beginCopy('scalar', byte)
  }

  /** Whether the current value of a container is the next step of the path, or an element of the array at its end. */
  private select(container: Container, step: string): void {
    const level = this.containers.length - 1
    container.isSelected = level < this.options.path.length ? this.options.path[level] === step : !container.isObject
  }

  private close(byte: number): void {
    const container = this.containers.pop()
    const isAllowed = this.expected === 'comma or end' || this.expected.endsWith('or end')
    if (container === undefined || !isAllowed || container.isObject !== (byte === CLOSE_BRACE)) {
      throw this.invalid(`unexpected ${String.fromCharCode(byte)}`)
    }
    this.afterValue()
  }

  private afterValue(): void {
    if (this.containers.length > 0) this.expected = 'comma or end'
    else this.expected = this.options.shape === 'array' ? 'nothing' : 'value'
  }

  private beginCopy(kind: 'record' | 'scalar' | 'key', byte: number): void {
    this.copying = kind
    this.copyStart = this.offset
    this.length = 0
    this.sawSpace = false
    this.copyByte(byte)
  }

  /** Validates the copy; returns it if it is a record. */
  private endCopy(): Uint8Array | undefined {
    const kind = this.copying
    const bytes = this.copy.subarray(0, this.length)
    const result = scanLine(bytes, 0, bytes.length)
    if (!result.ok) throw this.invalid(result.message, this.copyStart, result.code)
    this.copying = undefined
    if (kind === 'key') {
      this.select(this.containers.at(-1)!, JSON.parse(decoder.decode(bytes)) as string)
      this.expected = 'colon'
      return undefined
    }
    this.afterValue()
    return kind === 'record' ? bytes : undefined
  }

  private invalid(
    message: string,
    byteOffset = this.offset,
    code: 'JSON_INVALID' | 'UTF8_INVALID' | 'LINE_BLANK' | 'LINE_TOO_LONG' = 'JSON_INVALID',
  ): PenstockError {
    return new PenstockError(code, message, { file: this.options.source, byteOffset })
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
