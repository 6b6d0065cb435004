/**
 * The hot part of a tokenizer: pre-tokenization and merging of text without added tokens. This is the complete engine in
 * TypeScript; kernel/kernel-engine.ts has the same in WebAssembly.
 */

import { type ChunkRules, chunkSplitter } from '../patterns/chunks.js'
import { type SplitRule, type Splitter, splitterFor } from '../patterns/pretokenize.js'
import { Merger, type Merges, type Symbols } from './bpe.js'
import { type PackedVocabulary, tokenOfBytes } from './byte-level.js'
import { type UnigramPieces, UnigramSegmenter } from './unigram.js'
import type { Vocabulary } from './vocabulary.js'
import { WordCache } from './word-cache.js'

/** The parts of a tokenizer plan that an engine needs. */
export interface EnginePlan {
  readonly symbols: Symbols
  readonly merges: Merges
  readonly rules: readonly SplitRule[]
  /** Tokens by spelling. */
  readonly vocabulary: Vocabulary
  /** The same as bytes, for a byte-level vocabulary. */
  readonly words: PackedVocabulary
  /** Whether a word in the vocabulary is one token regardless of the merges (`ignore_merges`). */
  readonly ignoresMerges: boolean
  /** Pieces of a Unigram model, which has no merges. */
  readonly unigram?: UnigramPieces | undefined
  /** Highest token id + 1. */
  readonly totalSize: number
}

/** Conditions under which the host must process a text before the engine. */
export interface HostRules {
  /** Every text. */
  readonly seesAll: boolean
  /** Texts with a code point of this set, one bit each, because they may need normalization. */
  readonly changing: Uint8Array | undefined
  /** All code points of the set start with bytes of at least this value. */
  readonly firstByte: number
  /** Texts that may contain one of these added tokens, in the spelling searched for. */
  readonly tokens: readonly Uint8Array[]
}

/** Encodes from its own buffer into its own tokens, so that an engine in WebAssembly memory needs no copies. */
export interface Engine {
  /** Makes room for that many bytes and their tokens: as many, or MAX_CHUNK_TOKENS per byte for chunks; keeps the content of `bytes` and the first tokens. */
  reserve(byteLength: number, keptTokens: number): void
  /** Input buffer; replaced by `reserve`. */
  readonly bytes: Uint8Array
  /** Output buffer; replaced by `reserve`. */
  readonly tokens: Uint16Array | Uint32Array
  /** Encodes bytes[start, end), valid UTF-8 without added tokens, to tokens[at...]; returns the position after them. */
  encode(start: number, end: number, at: number): number
  setHostRules(rules: HostRules): void
  /** Whether the rules require the host for bytes[start, end); may have false positives, never false negatives. */
  needsHost(start: number, end: number): boolean
  /** Whether the rules' tokens may occur in bytes[start, end); may have false positives, never false negatives. */
  mayHaveToken(start: number, end: number): boolean
  /** Asks the engine to add these tokens around each text that does not need the host; returns whether it will. */
  setTemplate(before: readonly number[], after: readonly number[]): boolean
  /** Like `encode`, plus the template tokens. */
  encodeDocument(start: number, end: number, at: number): number
  /** Clears the word cache; for benchmarks. */
  clearCache(): void
}

/** Encodes one word at a time. */
export interface WordEncoder {
  /** Tokens of the last word; valid until the next call. */
  readonly ids: Uint32Array
  /** Encodes bytes[start, end) into `ids`; returns the number of tokens. */
  encodeWord(bytes: Uint8Array, start: number, end: number): number
}

/** Plan of an engine that leaves the tokens of new words to the host. */
export interface ChunkPlan {
  readonly rules: ChunkRules
  /** Returns at most MAX_CHUNK_TOKENS tokens per byte. */
  readonly encoder: WordEncoder
  /** Highest token id + 1. */
  readonly totalSize: number
}

export const MAX_CHUNK_TOKENS = 2

export function createEngine(plan: EnginePlan): Engine {
  const merger = plan.unigram === undefined ? new Merger(plan.symbols, plan.merges) : new UnigramSegmenter(plan.unigram)
  const encoder = plan.ignoresMerges ? wholeWordsFirst(merger, plan) : merger
  return new TypeScriptEngine(splitterFor(plan.rules), encoder, 1)
}

export function createChunkEngine({ rules, encoder }: ChunkPlan): Engine {
  return new TypeScriptEngine(chunkSplitter(rules), encoder, MAX_CHUNK_TOKENS)
}

/** Words of the vocabulary are one token regardless of the merges. */
function wholeWordsFirst(merger: WordEncoder, { vocabulary, symbols }: EnginePlan): WordEncoder {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  const spelling = (bytes: Uint8Array, start: number, end: number): string =>
    symbols.unit === 'bytes' ? tokenOfBytes(bytes, start, end) : decoder.decode(bytes.subarray(start, end))
  return {
    get ids() {
      return merger.ids
    },
    encodeWord(bytes, start, end) {
      const whole = vocabulary.get(spelling(bytes, start, end))
      if (whole === undefined) return merger.encodeWord(bytes, start, end)
      merger.ids[0] = whole
      return 1
    },
  }
}

class TypeScriptEngine implements Engine {
  bytes = new Uint8Array(0)
  tokens = new Uint32Array(0)
  private view = new DataView(this.bytes.buffer)
  private readonly split: Splitter
  private readonly encoder: WordEncoder
  private readonly tokensPerByte: number
  private readonly cache = new WordCache()
  private isForHost = false
  private at = 0

  constructor(split: Splitter, encoder: WordEncoder, tokensPerByte: number) {
    this.split = split
    this.encoder = encoder
    this.tokensPerByte = tokensPerByte
  }

  reserve(byteLength: number, keptTokens: number): void {
    if (this.bytes.length >= byteLength) return
    const bytes = new Uint8Array(Math.max(byteLength, this.bytes.length * 2, 4096))
    const tokens = new Uint32Array(bytes.length * this.tokensPerByte)
    bytes.set(this.bytes)
    tokens.set(this.tokens.subarray(0, keptTokens))
    this.bytes = bytes
    this.tokens = tokens
    this.view = new DataView(bytes.buffer)
  }

  encode(start: number, end: number, at: number): number {
    this.at = at
    this.split(this.bytes, start, end, this.encodeWord)
    return this.at
  }

  encodeDocument(start: number, end: number, at: number): number {
    return this.encode(start, end, at)
  }

  setHostRules(rules: HostRules): void {
    this.isForHost = rules.seesAll || rules.changing !== undefined || rules.tokens.length > 0
  }

  needsHost(): boolean {
    return this.isForHost
  }

  mayHaveToken(): boolean {
    return this.isForHost
  }

  setTemplate(): boolean {
    return false
  }

  clearCache(): void {
    this.cache.clear()
  }

  private readonly encodeWord = (start: number, end: number): void => {
    const { bytes, view, cache, encoder } = this
    const known = cache.find(bytes, view, start, end, this.tokens, this.at)
    if (known >= 0) {
      this.at += known
      return
    }
    const count = encoder.encodeWord(bytes, start, end)
    for (let i = 0; i < count; i++) this.tokens[this.at++] = encoder.ids[i]!
    cache.add(bytes, view, start, end, encoder.ids, count)
  }
}
