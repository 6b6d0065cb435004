/**
 * Headers of Parquet pages: structs of Thrift's compact protocol, of which only the fields that a reader needs are kept.
 * Source: parquet-format, `parquet.thrift`, struct PageHeader; Thrift, "Thrift Compact protocol encoding".
 *
 * | field | struct | meaning |
 * | --- | --- | --- |
 * | 1 | PageHeader | page type: 0 data, 2 dictionary, 3 data v2 |
 * | 2, 3 | PageHeader | bytes of the page uncompressed, and in the file |
 * | 5 | PageHeader | DataPageHeader: 1 values, 2 encoding |
 * | 7 | PageHeader | DictionaryPageHeader: 1 values, 2 encoding |
 * | 8 | PageHeader | DataPageHeaderV2: 1 values, 2 nulls, 4 encoding, 5 and 6 bytes of levels, 7 whether compressed |
 */
import { PenstockError } from '../../errors.js'

export interface PageHeader {
  readonly kind: 'data' | 'data-v2' | 'dictionary' | 'other'
  /** Bytes of the header itself: the page follows it. */
  readonly headerBytes: number
  readonly pageBytes: number
  readonly uncompressedBytes: number
  readonly values: number
  readonly encoding: number
  /** Of a v2 page, in front of its values and never compressed. */
  readonly definitionBytes: number
  readonly repetitionBytes: number
  readonly isCompressed: boolean
}

/** A struct's fields by id; nested structs the same, everything else as a number. Lists and strings are skipped. */
type Struct = Map<number, number | Struct>

const KINDS: Readonly<Record<number, PageHeader['kind']>> = { 0: 'data', 2: 'dictionary', 3: 'data-v2' }
const MAX_DEPTH = 8

/**
 * @param bytes begins with a header, and may end inside it
 * @returns undefined when `bytes` ends before the header does
 * @throws PARQUET_INVALID
 */
export function readPageHeader(bytes: Uint8Array): PageHeader | undefined {
  const reader = new CompactReader(bytes)
  const header = reader.struct(0)
  if (header === undefined) return undefined
  const number = (struct: Struct | undefined, id: number, fallback = 0): number => {
    const value = struct?.get(id)
    return typeof value === 'number' ? value : fallback
  }
  const kind = KINDS[number(header, 1, -1)] ?? 'other'
  const inner = header.get(kind === 'data' ? 5 : kind === 'dictionary' ? 7 : 8)
  const details = typeof inner === 'object' ? inner : undefined
  const isV2 = kind === 'data-v2'
  const result = {
    kind,
    headerBytes: reader.position,
    uncompressedBytes: number(header, 2, -1),
    pageBytes: number(header, 3, -1),
    values: number(details, 1),
    encoding: number(details, isV2 ? 4 : 2),
    definitionBytes: isV2 ? number(details, 5) : 0,
    repetitionBytes: isV2 ? number(details, 6) : 0,
    isCompressed: !isV2 || number(details, 7, 1) !== 0,
  }
  const sizes = [
    result.uncompressedBytes,
    result.pageBytes,
    result.values,
    result.definitionBytes,
    result.repetitionBytes,
  ]
  if (sizes.some(size => size < 0))
    throw new PenstockError('PARQUET_INVALID', 'a page header has no sizes, or negative ones')
  if (kind !== 'other' && details === undefined) {
    throw new PenstockError('PARQUET_INVALID', 'a page header lacks the part that its type requires')
  }
  return result
}

/** Thrown inside the reader when the bytes end. */
const ENDED = Symbol('the bytes end inside the header')

class CompactReader {
  position = 0
  private readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  struct(depth: number): Struct | undefined {
    try {
      return this.fields(depth)
    } catch (error) {
      if (error === ENDED) return undefined
      throw error
    }
  }

  private fields(depth: number): Struct {
    if (depth > MAX_DEPTH)
      throw new PenstockError('PARQUET_INVALID', `a page header is nested more than ${MAX_DEPTH} deep`)
    const fields: Struct = new Map()
    for (let id = 0; ; ) {
      const head = this.byte()
      if (head === 0) return fields
      id = head >> 4 === 0 ? this.zigzag() : id + (head >> 4)
      const value = this.value(head & 15, depth)
      if (value !== undefined) fields.set(id, value)
    }
  }

  private value(type: number, depth: number): number | Struct | undefined {
    switch (type) {
      case 1:
      case 2:
        return type === 1 ? 1 : 0
      case 3:
        return (this.byte() << 24) >> 24
      case 4:
      case 5:
      case 6:
        return this.zigzag()
      case 7:
        this.skip(8)
        return undefined
      case 8:
        this.skip(this.varint())
        return undefined
      case 9:
      case 10:
        this.list(depth)
        return undefined
      case 12:
        return this.fields(depth + 1)
      default:
        throw new PenstockError('PARQUET_INVALID', `a page header has a field of the unknown type ${type}`)
    }
  }

  private list(depth: number): void {
    const head = this.byte()
    const count = head >> 4 === 15 ? this.varint() : head >> 4
    for (let index = 0; index < count; index++) {
      // A boolean takes a byte in a list, none as a field.
      if ((head & 15) <= 2) this.byte()
      else this.value(head & 15, depth + 1)
    }
  }

  private byte(): number {
    const byte = this.bytes[this.position++]
    if (byte === undefined) throw ENDED
    return byte
  }

  private skip(count: number): void {
    this.position += count
    if (this.position > this.bytes.length) throw ENDED
  }

  /** Exact up to 2^53: larger numbers than that are no sizes. */
  private varint(): number {
    let value = 0
    for (let scale = 1; scale <= 2 ** 63; scale *= 128) {
      const byte = this.byte()
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    throw new PenstockError('PARQUET_INVALID', 'a page header has a number of more than 64 bits')
  }

  private zigzag(): number {
    const value = this.varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }
}
