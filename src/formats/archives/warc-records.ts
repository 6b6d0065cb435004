/**
 * Splits the bytes of a WARC file into records, at any chunk size. After damage the parser continues at the next line that
 * starts with the version, so one bad record costs only itself.
 *
 * | part | content |
 * | --- | --- |
 * | version | `WARC/1.0` or `WARC/1.1`, CR LF |
 * | fields | `Name: value` CR LF each; a line that starts with white space continues the previous one |
 * | end of fields | CR LF |
 * | block | `Content-Length` bytes |
 * | end of record | CR LF CR LF |
 *
 * A writer may end lines with LF alone. Source: ISO 28500, iipc.github.io/warc-specifications.
 */

import { concatBytes } from '../bytes.js'
import { count, quantity } from '../message-words.js'

const [LF, CR] = [10, 13]
/** Of the fields of one record. */
const MAX_HEADER_BYTES = 1 << 20
const decoder = new TextDecoder()

/** Fields of a header by lower-case name; of repeated ones the first. */
export type HeaderFields = ReadonlyMap<string, string>

export interface WarcRecord {
  readonly kind: 'record'
  /** Of the version line, in the decompressed file. */
  readonly byteOffset: number
  readonly fields: HeaderFields
  /** Consecutive parts of the block; undefined for one that was not wanted. */
  readonly block: readonly Uint8Array[] | undefined
}

/** Bytes that are not a record. */
export interface WarcDamage {
  readonly kind: 'damage'
  readonly byteOffset: number
  readonly message: string
  readonly head: Uint8Array
}

export interface WarcCursor {
  /** In the decompressed file. */
  readonly byteOffset: number
  /** The position is after damage, in front of the record to continue with. */
  readonly isLost: boolean
}

const START: WarcCursor = { byteOffset: 0, isLost: false }

interface OpenRecord {
  readonly byteOffset: number
  readonly fields: HeaderFields
  readonly head: Uint8Array
  readonly length: number
  readonly isWanted: boolean
}

/** Feed chunks with `push`, end with `finish`. */
export class WarcSplitter {
  /** Whether to keep the block of a record in memory. */
  private readonly wants: (fields: HeaderFields, length: number) => boolean
  private pending: Uint8Array[] = []
  private pendingBytes = 0
  /** Offset of the first pending byte. */
  private position: number
  private open: OpenRecord | undefined
  private block: Uint8Array[] = []
  private blockBytes = 0
  private isLost: boolean

  /** @param from position of the first byte that is pushed, if not the start of the file */
  constructor(wants: (fields: HeaderFields, length: number) => boolean, from: WarcCursor = START) {
    this.wants = wants
    this.position = from.byteOffset
    this.isLost = from.isLost
  }

  /** Position after the last record: where to resume. */
  get cursor(): WarcCursor {
    return { byteOffset: this.open?.byteOffset ?? this.position, isLost: this.isLost }
  }

  *push(chunk: Uint8Array): Generator<WarcRecord | WarcDamage> {
    this.pending.push(chunk)
    this.pendingBytes += chunk.byteLength
    yield* this.split(false)
  }

  *finish(): Generator<WarcRecord | WarcDamage> {
    yield* this.split(true)
    const { open } = this
    if (open === undefined) return
    this.open = undefined
    const message = `the file ends after ${count(this.blockBytes)} of ${quantity(open.length, 'byte')} of a record`
    yield { kind: 'damage', byteOffset: open.byteOffset, message, head: open.head }
  }

  private *split(isEnd: boolean): Generator<WarcRecord | WarcDamage> {
    for (;;) {
      if (this.isLost && !this.resynchronize(isEnd)) return
      if (this.open === undefined) {
        const found = this.header(isEnd)
        if (found === undefined) return
        if (found.kind === 'damage') yield this.lost(found)
      } else {
        this.takeBlock(this.open)
        if (this.blockBytes < this.open.length) return
        const ending = this.recordEnd(isEnd)
        if (ending === undefined) return
        const { byteOffset, fields, head, length, isWanted } = this.open
        const block = isWanted ? this.block : undefined
        this.close()
        if (ending === 'none') {
          yield this.lost({
            kind: 'damage',
            byteOffset,
            message: `no line end after the ${length} bytes of a record: its Content-Length is wrong`,
            head,
          })
        } else yield { kind: 'record', byteOffset, fields, block }
      }
    }
  }

  private close(): void {
    this.open = undefined
    this.block = []
    this.blockBytes = 0
  }

  private lost(damage: WarcDamage): WarcDamage {
    this.isLost = true
    return damage
  }

  /** Reads the fields of the next record; undefined while they are incomplete, and at the end of the file. */
  private header(isEnd: boolean): WarcDamage | { readonly kind: 'open' } | undefined {
    const bytes = this.joined()
    const start = firstOtherThanLineEnds(bytes)
    this.drop(start)
    const rest = bytes.subarray(start)
    if (rest.length === 0) return undefined
    const byteOffset = this.position
    const damage = (message: string): WarcDamage => ({
      kind: 'damage',
      byteOffset,
      message,
      head: rest.slice(0, 1024),
    })
    if (rest.length >= 7 && !isVersion(rest, 0))
      return damage('expected the version line of a record, such as WARC/1.0')
    const end = endOfFields(rest)
    if (end === undefined) {
      if (isEnd) {
        const cut = damage('the file ends inside the header of a record')
        this.drop(rest.length)
        return cut
      }
      return rest.length > MAX_HEADER_BYTES ? damage(`a header of more than ${MAX_HEADER_BYTES} bytes`) : undefined
    }
    const fields = parseFields(rest.subarray(0, end))
    const text = fields.get('content-length') ?? ''
    const length = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(length)) {
      return damage(text === '' ? 'a record without Content-Length' : `a Content-Length of ${text.slice(0, 40)}`)
    }
    const head = rest.slice(0, Math.min(end, 1024))
    this.open = { byteOffset, fields, head, length, isWanted: this.wants(fields, length) }
    this.drop(end)
    return { kind: 'open' }
  }

  private takeBlock({ length, isWanted }: OpenRecord): void {
    while (this.blockBytes < length && this.pendingBytes > 0) {
      const first = this.pending[0]!
      const part = first.subarray(0, length - this.blockBytes)
      if (isWanted) this.block.push(part)
      this.blockBytes += part.length
      this.drop(part.length)
    }
  }

  /** Consumes the two line ends after a block; undefined while they may follow. */
  private recordEnd(isEnd: boolean): 'found' | 'none' | undefined {
    const bytes = this.joined()
    if (bytes.length < 4 && !isEnd && [CR, LF].includes(bytes[0] ?? LF)) return undefined
    let at = 0
    for (let line = 0; line < 2 && at < bytes.length; line++) {
      if (bytes[at] === CR) at++
      if (bytes[at] !== LF) return 'none'
      at++
    }
    this.drop(at)
    return 'found'
  }

  /** Skips to the next line that starts a record. */
  private resynchronize(isEnd: boolean): boolean {
    const bytes = this.joined()
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
      if (!isVersion(bytes, at + 1)) continue
      this.drop(at + 1)
      this.isLost = false
      return true
    }
    this.drop(isEnd ? bytes.length : Math.max(0, bytes.length - 8))
    return false
  }

  private joined(): Uint8Array {
    if (this.pending.length !== 1) this.pending = [concatBytes(this.pending)]
    return this.pending[0]!
  }

  private drop(count: number): void {
    this.position += count
    this.pendingBytes -= count
    let left = count
    while (left > 0) {
      const first = this.pending[0]!
      if (first.length > left) {
        this.pending[0] = first.subarray(left)
        return
      }
      left -= first.length
      this.pending.shift()
    }
  }
}

/** Start of the body after a header of fields; undefined if the header does not end. */
export function endOfFields(bytes: Uint8Array): number | undefined {
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3
  }
  return undefined
}

/** The fields after the first line of a header. */
export function parseFields(header: Uint8Array): HeaderFields {
  const fields = new Map<string, string>()
  const lines = decoder
    .decode(header)
    .replaceAll(/\r?\n[ \t]+/g, ' ')
    .split(/\r?\n/)
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).trim().toLowerCase()
    if (colon > 0 && !fields.has(name)) fields.set(name, line.slice(colon + 1).trim())
  }
  return fields
}

function firstOtherThanLineEnds(bytes: Uint8Array): number {
  let at = 0
  while (bytes[at] === CR || bytes[at] === LF) at++
  return at
}

/** `WARC/1.` at this index. */
function isVersion(bytes: Uint8Array, at: number): boolean {
  return String.fromCharCode(...bytes.subarray(at, at + 7)) === 'WARC/1.'
}
