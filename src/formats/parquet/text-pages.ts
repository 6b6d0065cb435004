/**
 * Values of a text column, page by page: the encodings that writers use for strings (PLAIN and dictionary), pages of
 * version 1 and 2, nulls at any level of nested structs. Values stay UTF-8 bytes in one buffer, as a tokenizer wants them;
 * no string is made. Everything else is left to a general reader (`canReadPages`).
 *
 * A page: [definition levels] then values. Version 1 puts the byte count of the levels (u32) in front of them and
 * compresses both; version 2 keeps levels uncompressed. Source: parquet-format, README.md and Encodings.md.
 */
import { PenstockError } from '../../errors.js'
import { decodeHybrid } from './levels.js'
import type { PageHeader } from './page-header.js'

/** Encodings by their numbers in the file. */
const [PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY] = [0, 2, 8] as const

/** Codecs by their names in the metadata. */
export type Codec = 'UNCOMPRESSED' | 'SNAPPY' | 'GZIP' | 'ZSTD'
export const CODECS: readonly string[] = ['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'ZSTD'] satisfies Codec[]

/** Whether the values of a page are indices into the dictionary of its chunk. */
export function needsDictionary({ kind, encoding }: PageHeader): boolean {
  return (kind === 'data' || kind === 'data-v2') && isDictionaryEncoding(encoding)
}

const isDictionaryEncoding = (encoding: number): boolean => encoding === PLAIN_DICTIONARY || encoding === RLE_DICTIONARY

/** @returns exactly `uncompressedBytes` bytes, valid until the next call; throws on damaged input */
export type Decompress = (bytes: Uint8Array, uncompressedBytes: number) => Uint8Array

/** Values of one page: value i is bytes[offsets[i], offsets[i + 1]). The bytes are valid until the next page is decoded. */
export interface TextPage {
  readonly bytes: Uint8Array
  readonly offsets: Uint32Array
  /** Rows of the page, nulls included. */
  readonly rows: number
  /** Row of each value, counted from the page's first; undefined when no row is null. */
  readonly rowOf: Uint32Array | undefined
}

interface Values {
  readonly bytes: Uint8Array
  readonly offsets: Uint32Array
}

/** Memory that is valid until the next call for the same use. */
export type Allocate = (use: 'dictionary' | 'texts', byteLength: number) => Uint8Array

/** Definition levels, where the column has any, and encoded values. */
interface PageParts {
  readonly levels: Uint32Array | undefined
  readonly values: Uint8Array
}

/** Decodes the pages of one column chunk, in their order: a dictionary page applies to those after it. */
export class TextPageDecoder {
  private readonly maxDefinition: number
  private readonly decompress: Decompress | undefined
  private readonly allocate: Allocate
  private dictionary: Values | undefined

  /**
   * @param maxDefinition number of optional fields on the path of the column
   * @param decompress absent for a chunk that is not compressed
   * @param allocate memory for the dictionary, and for the texts of a page that refers to it
   */
  constructor(
    maxDefinition: number,
    decompress: Decompress | undefined,
    allocate: Allocate = (_use, byteLength) => new Uint8Array(byteLength),
  ) {
    this.maxDefinition = maxDefinition
    this.decompress = decompress
    this.allocate = allocate
  }

  /**
   * @param body the page's bytes, which may be changed
   * @returns undefined for a page without rows, such as a dictionary
   * @throws PARQUET_INVALID; UNSUPPORTED for an encoding that is not decoded here
   */
  decode(header: PageHeader, body: Uint8Array): TextPage | undefined {
    if (header.kind === 'other') return undefined
    if (header.kind === 'dictionary') {
      if (header.encoding !== PLAIN && header.encoding !== PLAIN_DICTIONARY) throw unsupportedEncoding(header.encoding)
      const { bytes, offsets } = plainValues(this.uncompressed(header, body, header.uncompressedBytes), header.values)
      const memory = this.allocate('dictionary', bytes.byteLength)
      memory.set(bytes)
      this.dictionary = { bytes: memory, offsets }
      return undefined
    }
    const { levels, values } = header.kind === 'data-v2' ? this.partsOfV2(header, body) : this.partsOfV1(header, body)
    const rows = header.values
    let present = rows
    let rowOf: Uint32Array | undefined
    if (levels !== undefined) {
      present = 0
      for (const level of levels) if (level === this.maxDefinition) present++
      if (present < rows) rowOf = rowsWith(levels, this.maxDefinition, present)
    }
    return { ...this.valuesOf(header.encoding, values, present), rows, rowOf }
  }

  private uncompressed({ isCompressed }: PageHeader, bytes: Uint8Array, expected: number): Uint8Array {
    const { decompress } = this
    if (decompress === undefined || !isCompressed || (bytes.length === 0 && expected === 0)) return bytes
    return decompressed(decompress, bytes, expected)
  }

  private partsOfV1(header: PageHeader, body: Uint8Array): PageParts {
    const bytes = this.uncompressed(header, body, header.uncompressedBytes)
    if (this.maxDefinition === 0) return { levels: undefined, values: bytes }
    const valuesAt = 4 + uint32At(bytes, 0)
    if (valuesAt > bytes.length) throw levelsTooLong()
    return { levels: this.levelsOf(header, bytes.subarray(4, valuesAt)), values: bytes.subarray(valuesAt) }
  }

  private partsOfV2(header: PageHeader, body: Uint8Array): PageParts {
    const { repetitionBytes, definitionBytes, uncompressedBytes } = header
    const levelBytes = repetitionBytes + definitionBytes
    if (levelBytes > body.length) throw levelsTooLong()
    const values = this.uncompressed(header, body.subarray(levelBytes), uncompressedBytes - levelBytes)
    if (this.maxDefinition === 0) return { levels: undefined, values }
    return { levels: this.levelsOf(header, body.subarray(repetitionBytes, levelBytes)), values }
  }

  private levelsOf({ values }: PageHeader, bytes: Uint8Array): Uint32Array {
    return decodeHybrid(bytes, 32 - Math.clz32(this.maxDefinition), values)
  }

  private valuesOf(encoding: number, bytes: Uint8Array, count: number): Values {
    if (encoding === PLAIN) return plainValues(bytes, count)
    if (!isDictionaryEncoding(encoding)) throw unsupportedEncoding(encoding)
    if (count === 0) return { bytes: new Uint8Array(0), offsets: new Uint32Array(1) }
    const { dictionary } = this
    if (dictionary === undefined) throw new PenstockError('PARQUET_INVALID', 'a page of indices without a dictionary')
    return lookedUp(dictionary, decodeHybrid(bytes.subarray(1), bytes[0]!, count), this.allocate)
  }
}

function decompressed(decompress: Decompress, bytes: Uint8Array, expected: number): Uint8Array {
  let values: Uint8Array
  try {
    values = decompress(bytes, expected)
  } catch (error) {
    throw new PenstockError('PARQUET_INVALID', `a page cannot be decompressed: ${(error as Error).message}`, {}, error)
  }
  if (values.length === expected) return values
  throw new PenstockError(
    'PARQUET_INVALID',
    `a page has ${values.length} bytes after decompression; ${expected} expected`,
  )
}

/** Each value is a u32 length and its bytes; the lengths are squeezed out in place. */
function plainValues(bytes: Uint8Array, count: number): Values {
  const offsets = new Uint32Array(count + 1)
  let from = 0
  let to = 0
  for (let index = 0; index < count; index++) {
    const length = uint32At(bytes, from)
    from += 4
    if (from + length > bytes.length) throw new PenstockError('PARQUET_INVALID', 'a value is longer than its page')
    bytes.copyWithin(to, from, from + length)
    from += length
    to += length
    offsets[index + 1] = to
  }
  return { bytes: bytes.subarray(0, to), offsets }
}

function lookedUp(dictionary: Values, indices: Uint32Array, allocate: Allocate): Values {
  const offsets = new Uint32Array(indices.length + 1)
  const known = dictionary.offsets.length - 1
  let total = 0
  for (const [at, index] of indices.entries()) {
    if (index >= known) {
      throw new PenstockError('PARQUET_INVALID', `index ${index} of a dictionary of ${known} values`)
    }
    total += dictionary.offsets[index + 1]! - dictionary.offsets[index]!
    if (total > 0xffffffff) throw new PenstockError('PARQUET_INVALID', 'the values of a page exceed 4 GiB')
    offsets[at + 1] = total
  }
  // The first page of different texts refers to them in their order.
  const [first = 0] = indices
  if (indices.every((index, at) => index === first + at)) {
    return {
      bytes: dictionary.bytes.subarray(dictionary.offsets[first], dictionary.offsets[first + indices.length]),
      offsets,
    }
  }
  const bytes = allocate('texts', total)
  for (const [at, index] of indices.entries()) {
    bytes.set(dictionary.bytes.subarray(dictionary.offsets[index], dictionary.offsets[index + 1]), offsets[at])
  }
  return { bytes, offsets }
}

function rowsWith(levels: Uint32Array, level: number, count: number): Uint32Array {
  const rows = new Uint32Array(count)
  let found = 0
  for (let row = 0; row < levels.length; row++) if (levels[row] === level) rows[found++] = row
  return rows
}

function uint32At(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw new PenstockError('PARQUET_INVALID', 'a page ends inside the length of a value')
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

const levelsTooLong = (): PenstockError =>
  new PenstockError('PARQUET_INVALID', 'the levels of a page are longer than the page')

const unsupportedEncoding = (encoding: number): PenstockError =>
  new PenstockError('UNSUPPORTED', `the encoding ${encoding} of a text column`)
