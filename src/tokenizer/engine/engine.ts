/**
 * The part of a tokenizer that is hot: pre-tokenization and merging of text without added tokens. This is the complete
 * engine in TypeScript; kernel.ts has the same one in WebAssembly.
 */

import { type SplitRule, type Splitter, splitterFor } from '../patterns/pretokenize.js'
import { Merger, type Merges, type Symbols } from './bpe.js'
import { type PackedVocabulary, tokenOfBytes } from './byte-level.js'
import { type UnigramPieces, UnigramSegmenter } from './unigram.js'
import type { Vocabulary } from './vocabulary.js'
import { WordCache } from './word-cache.js'

/** What an engine needs of a model. */
export interface EnginePlan {
  readonly symbols: Symbols
  readonly merges: Merges
  readonly rules: readonly SplitRule[]
  /** Tokens by their spelling. */
  readonly vocabulary: Vocabulary
  /** The same as bytes, of a byte-level vocabulary. */
  readonly words: PackedVocabulary
  /** Whether a word of the vocabulary is one token whatever the merges say (`ignore_merges`). */
  readonly ignoresMerges: boolean
  /** The pieces of a Unigram model, which has no merges. */
  readonly unigram?: UnigramPieces | undefined
  /** Highest token id + 1. */
  readonly totalSize: number
}

/** When a text is not for the engine alone. */
export interface HostRules {
  /** Always. */
  readonly seesAll: boolean
  /** When it has a code point of this set, one bit each, because it may have to be normalized. */
  readonly changing: Uint8Array | undefined
  /** The code points of the set begin with bytes from this one on. */
  readonly firstByte: number
  /** When it may have one of these added tokens, as they look in the text. */
  readonly tokens: readonly Uint8Array[]
}

/** Encodes out of its own buffer into its own tokens, so that one living in WebAssembly memory needs no copies. */
export interface Engine {
  /** Makes room for that many bytes, and at least as many tokens, and keeps what `bytes` holds and the first tokens. */
  reserve(byteLength: number, keptTokens: number): void
  /** Where the text lies; changes with `reserve`. */
  readonly bytes: Uint8Array
  /** Where tokens go; changes with `reserve`. */
  readonly tokens: Uint16Array | Uint32Array
  /** Encodes bytes[start, end), valid UTF-8 without added tokens, to tokens[at...]; returns the position after them. */
  encode(start: number, end: number, at: number): number
  setHostRules(rules: HostRules): void
  /** Whether bytes[start, end) cannot be encoded as they are, by the rules; may say so too often, never too rarely. */
  needsHost(start: number, end: number): boolean
  /** Takes over putting these tokens around each text that does not need the host, if it says so. */
  setTemplate(before: readonly number[], after: readonly number[]): boolean
  /** Like `encode`, with the tokens of the template around. */
  encodeDocument(start: number, end: number, at: number): number
  /** Forgets all words seen; only for measuring. */
  clearCache(): void
}

export function createEngine(plan: EnginePlan): Engine {
  return new TypeScriptEngine(plan)
}

class TypeScriptEngine implements Engine {
  bytes = new Uint8Array(0)
  tokens = new Uint32Array(0)
  private view = new DataView(this.bytes.buffer)
  private readonly split: Splitter
  private readonly merger: Merger | UnigramSegmenter
  private readonly cache = new WordCache()
  private readonly wholeWords: Vocabulary | undefined
  private readonly isByteLevel: boolean
  private isForHost = false
  private at = 0

  constructor(plan: EnginePlan) {
    this.split = splitterFor(plan.rules)
    this.merger =
      plan.unigram === undefined ? new Merger(plan.symbols, plan.merges) : new UnigramSegmenter(plan.unigram)
    this.wholeWords = plan.ignoresMerges ? plan.vocabulary : undefined
    this.isByteLevel = plan.symbols.unit === 'bytes'
  }

  reserve(byteLength: number, keptTokens: number): void {
    if (this.bytes.length >= byteLength) return
    const bytes = new Uint8Array(Math.max(byteLength, this.bytes.length * 2, 4096))
    const tokens = new Uint32Array(bytes.length)
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

  setTemplate(): boolean {
    return false
  }

  clearCache(): void {
    this.cache.clear()
  }

  private readonly encodeWord = (start: number, end: number): void => {
    const { bytes, view, cache, merger } = this
    const known = cache.find(bytes, view, start, end, this.tokens, this.at)
    if (known >= 0) {
      this.at += known
      return
    }
    const whole = this.wholeWords?.get(this.spelling(start, end))
    let count = 1
    if (whole === undefined) count = merger.merge(bytes, start, end)
    else merger.ids[0] = whole
    for (let i = 0; i < count; i++) this.tokens[this.at++] = merger.ids[i]!
    cache.add(bytes, view, start, end, merger.ids, count)
  }

  private spelling(start: number, end: number): string {
    if (this.isByteLevel) return tokenOfBytes(this.bytes, start, end)
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.bytes.subarray(start, end))
  }
}
