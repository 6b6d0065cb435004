/**
 * Packs whole chunks of JSONL: validates lines, extracts and encodes their field; faults become status codes. The kernel
 * and TypeScript give the same results.
 */
import { PenstockError } from '../errors.js'
import type { TokenArray } from '../formats/batches.js'
import { extractText, type FieldPath } from '../formats/json-scan.js'
import { KernelEngine } from './kernel/kernel-engine.js'
import { KernelLines } from './kernel/lines.js'
import { LINE_STATUSES, type LineKernel, type ScannedLines, statusOf, TypeScriptLines } from './kernel/scan-lines.js'
import { type Tokenizer, TokenizerBase } from './tokenizer-base.js'

const DOCUMENT_EMPTY = LINE_STATUSES.indexOf('DOCUMENT_EMPTY')
/** Bytes that an engine may read or write past the end of its input. */
const TEXT_SLACK = 64
const TOKEN_TOO_WIDE = LINE_STATUSES.indexOf('TOKEN_TOO_WIDE')

export interface PackedLines extends ScannedLines {
  /** Tokens of the valid lines, back to back. */
  readonly tokens: TokenArray
  /** Tokens of each line, 0 for a faulty one. */
  readonly lengths: Uint32Array
}

/** Documents that are not lines: no lines to find, and no faults but those of tokens. */
export type PackedTexts = Pick<PackedLines, 'tokens' | 'lengths' | 'statuses'>

export interface PackKernel extends LineKernel {
  pack(bytes: Uint8Array, start?: number, end?: number): PackedLines
  /** Encodes document i, at bytes[offsets[i], offsets[i + 1]). */
  packTexts(bytes: Uint8Array, offsets: Uint32Array): PackedTexts
}

export interface PackKernelOptions {
  readonly tokenizer: Tokenizer
  /** A key, or a path of keys and indices. */
  readonly field: string | FieldPath
  /** Appended to each document that does not end with it; nothing is appended without it. */
  readonly eodId?: number | undefined
  /** Bytes per token of the result. */
  readonly width: 1 | 2 | 4
}

/** Runs in WebAssembly if the tokenizer does. */
export function createPackKernel(options: PackKernelOptions): PackKernel {
  const path = typeof options.field === 'string' ? [options.field] : options.field
  const { tokenizer, width, eodId } = options
  if (eodId !== undefined && eodId >= 2 ** (8 * width)) {
    throw new PenstockError('TOKEN_TOO_WIDE', `the end-of-document token ${eodId} does not fit ${width} bytes`)
  }
  if (tokenizer instanceof TokenizerBase && tokenizer.engine instanceof KernelEngine) {
    return new KernelPack(tokenizer, tokenizer.engine, path, eodId, width)
  }
  return new TypeScriptPack(tokenizer, path, eodId, width)
}

class TypeScriptPack extends TypeScriptLines implements PackKernel {
  private readonly tokenizer: Tokenizer
  private readonly path: FieldPath
  private readonly eodId: number | undefined
  private readonly width: 1 | 2 | 4

  constructor(tokenizer: Tokenizer, path: FieldPath, eodId: number | undefined, width: 1 | 2 | 4) {
    super()
    this.tokenizer = tokenizer
    this.path = path
    this.eodId = eodId
    this.width = width
  }

  pack(bytes: Uint8Array, start = 0, end = bytes.length): PackedLines {
    const text = new Uint8Array(end - start)
    const documents: Uint32Array[] = []
    const lengths: number[] = []
    const lines = this.eachLine(bytes, start, end, (from, to) => {
      const result = extractText(bytes, from, to, this.path, text)
      const tokens = typeof result === 'number' ? this.encode(text, 0, result) : undefined
      const status = typeof result === 'number' ? this.statusOfTokens(tokens!) : statusOf(result)
      lengths.push(status === 0 ? tokens!.length : 0)
      if (status === 0) documents.push(tokens!)
      return status
    })
    return { ...lines, tokens: joinTokens(documents, this.width), lengths: Uint32Array.from(lengths) }
  }

  packTexts(bytes: Uint8Array, offsets: Uint32Array): PackedTexts {
    const documents = Array.from(offsets.subarray(1), (end, index) => this.encode(bytes, offsets[index]!, end))
    const statuses = Uint8Array.from(documents, tokens => this.statusOfTokens(tokens))
    const valid = documents.map((tokens, index) => (statuses[index] === 0 ? tokens : new Uint32Array(0)))
    return { tokens: joinTokens(valid, this.width), lengths: Uint32Array.from(valid, ({ length }) => length), statuses }
  }

  private encode(text: Uint8Array, start: number, end: number): Uint32Array {
    const tokens = this.tokenizer.encodeBytes(text, start, end)
    const { eodId } = this
    if (eodId === undefined || tokens.length === 0 || tokens.at(-1) === eodId) return tokens
    const ended = new Uint32Array(tokens.length + 1)
    ended.set(tokens)
    ended[tokens.length] = eodId
    return ended
  }

  private statusOfTokens(tokens: Uint32Array): number {
    if (tokens.length === 0) return DOCUMENT_EMPTY
    const limit = 2 ** (8 * this.width)
    return tokens.some(id => id >= limit) ? TOKEN_TOO_WIDE : 0
  }
}

function tokenArray(width: 1 | 2 | 4, length: number): TokenArray {
  return width === 1 ? new Uint8Array(length) : width === 2 ? new Uint16Array(length) : new Uint32Array(length)
}

function joinTokens(documents: readonly Uint32Array[], width: 1 | 2 | 4): TokenArray {
  const joined = tokenArray(
    width,
    documents.reduce((sum, tokens) => sum + tokens.length, 0),
  )
  let at = 0
  for (const tokens of documents) {
    joined.set(tokens, at)
    at += tokens.length
  }
  return joined
}

class KernelPack implements PackKernel {
  private readonly lines: KernelLines
  private readonly tokenizer: TokenizerBase
  private readonly width: 1 | 2 | 4
  private readonly eodId: number | undefined

  constructor(
    tokenizer: TokenizerBase,
    engine: KernelEngine,
    path: FieldPath,
    eodId: number | undefined,
    width: 1 | 2 | 4,
  ) {
    this.lines = new KernelLines(engine, path)
    this.tokenizer = tokenizer
    this.eodId = eodId
    this.width = width
  }

  input(byteLength: number): Uint8Array {
    return this.lines.input(byteLength)
  }

  scan(bytes: Uint8Array, start?: number, end?: number): ScannedLines {
    return this.lines.scan(bytes, start, end)
  }

  pack(bytes: Uint8Array, start?: number, end?: number): PackedLines {
    const encode = (from: number, to: number, at: number): number => this.encode(from, to, at, to)
    return this.atWidth(this.lines.pack(bytes, start, end, this.eodId, encode, DOCUMENT_EMPTY))
  }

  packTexts(bytes: Uint8Array, offsets: Uint32Array): PackedTexts {
    const { engine } = this.tokenizer
    const documents = offsets.length - 1
    const first = offsets[0]!
    const byteLength = offsets[documents]! - first
    // Each document may get a token more than it has bytes.
    engine.reserve(byteLength + documents + TEXT_SLACK, 0)
    engine.bytes.set(bytes.subarray(first, first + byteLength))
    const lengths = new Uint32Array(documents)
    const statuses = new Uint8Array(documents)
    let at = 0
    for (let index = 0; index < documents; index++) {
      const stop = this.encode(offsets[index]! - first, offsets[index + 1]! - first, at, byteLength)
      lengths[index] = stop - at
      if (stop === at) statuses[index] = DOCUMENT_EMPTY
      at = stop
    }
    return this.atWidth({ tokens: engine.tokens.subarray(0, at), lengths, statuses })
  }

  /** Encodes the loaded text [from, to) and appends the end-of-document token; keeps the bytes before `scratch`. */
  private encode(from: number, to: number, at: number, scratch: number): number {
    const stop = this.tokenizer.encodeLoaded(from, to, at, scratch)
    const { tokens } = this.tokenizer.engine
    if (stop === at || this.eodId === undefined || tokens[stop - 1] === this.eodId) return stop
    tokens[stop] = this.eodId
    return stop + 1
  }

  private atWidth<Packed extends PackedTexts>(packed: Packed): Packed {
    if (packed.tokens.BYTES_PER_ELEMENT === this.width) return packed
    return this.tokenizer.totalSize <= 2 ** (8 * this.width) ? this.recast(packed) : this.narrow(packed)
  }

  private recast<Packed extends PackedTexts>(packed: Packed): Packed {
    const tokens = tokenArray(this.width, packed.tokens.length)
    tokens.set(packed.tokens)
    return { ...packed, tokens }
  }

  /** Drops documents with a token beyond the width. */
  private narrow<Packed extends PackedTexts>(packed: Packed): Packed {
    const tokens = tokenArray(this.width, packed.tokens.length)
    const limit = 2 ** (8 * this.width)
    let from = 0
    let to = 0
    for (const [line, length] of packed.lengths.entries()) {
      const document = packed.tokens.subarray(from, from + length)
      from += length
      if (document.some(id => id >= limit)) {
        packed.statuses[line] = TOKEN_TOO_WIDE
        packed.lengths[line] = 0
        continue
      }
      tokens.set(document, to)
      to += length
    }
    return { ...packed, tokens: tokens.subarray(0, to) }
  }
}
