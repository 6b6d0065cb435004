/** The parts of a tokenizer that do not depend on its model: sizes, look-ups, batches and decoding. */
import type { Engine } from './engine/engine.js'
import type { CommonPlan } from './file/tokenizer-json.js'
import type { TemplateTokens } from './fit-length.js'

/** Engine used, and why; `fast` is false for one without a word cache. */
export interface EngineInfo {
  readonly fast: boolean
  readonly why: string
}

export interface Tokenizer {
  /** Tokens of the model, without added ones: what Modalities calls the vocabulary size. */
  readonly vocabSize: number
  /** Highest id + 1, added tokens included. */
  readonly totalSize: number
  readonly engineInfo: EngineInfo
  /** @deprecated use `engineInfo` */
  readonly how: EngineInfo
  /** Numbers of tokens that `encode` adds before and after every text. */
  readonly templateTokens: TemplateTokens
  /** @deprecated use `templateTokens` */
  readonly around: TemplateTokens
  idOf(token: string): number | undefined
  /** Lone surrogates become U+FFFD. */
  encode(text: string): Uint32Array
  decode(ids: Iterable<number>, options?: { readonly skipSpecialTokens?: boolean }): string
  /** Encodes bytes[start, end), which must be valid UTF-8. */
  encodeBytes(bytes: Uint8Array, start?: number, end?: number): Uint32Array
  /** Encodes the documents bytes[offsets[i], offsets[i + 1]); uint16 when every id fits. */
  encodeBatch(bytes: Uint8Array, offsets: Uint32Array): { tokens: Uint16Array | Uint32Array; lengths: Uint32Array }
}

/** Bytes that an engine may read or write past the end of its input. */
export const SLACK = 64

export abstract class TokenizerBase implements Tokenizer {
  readonly engine: Engine
  readonly vocabSize: number
  readonly totalSize: number
  readonly engineInfo: EngineInfo
  readonly templateTokens: TemplateTokens
  private readonly common: CommonPlan
  private readonly encoder = new TextEncoder()
  private tokenOfId: (string | undefined)[] | undefined

  constructor(common: CommonPlan, engine: Engine, engineInfo: EngineInfo) {
    this.common = common
    this.engine = engine
    this.engineInfo = engineInfo
    this.vocabSize = common.vocabSize
    this.totalSize = common.totalSize
    this.templateTokens = { before: common.before.length, after: common.after.length }
  }

  /**
   * Encodes the document engine.bytes[start, end) to engine.tokens[at...]; returns the position after its tokens. Keeps the
   * bytes before `scratch` (by default `end`).
   */
  abstract encodeLoaded(start: number, end: number, at: number, scratch?: number): number

  get how(): EngineInfo {
    return this.engineInfo
  }

  get around(): TemplateTokens {
    return this.templateTokens
  }

  idOf(token: string): number | undefined {
    return this.common.added.idOf(token) ?? this.common.vocabulary.get(token)
  }

  encode(text: string): Uint32Array {
    this.engine.reserve(text.length * 3 + SLACK, 0)
    const { written } = this.encoder.encodeInto(text, this.engine.bytes)
    return this.takeTokens(this.encodeLoaded(0, written, 0))
  }

  encodeBytes(bytes: Uint8Array, start = 0, end = bytes.length): Uint32Array {
    this.engine.reserve(end - start + SLACK, 0)
    this.engine.bytes.set(bytes.subarray(start, end))
    return this.takeTokens(this.encodeLoaded(0, end - start, 0))
  }

  encodeBatch(bytes: Uint8Array, offsets: Uint32Array): { tokens: Uint16Array | Uint32Array; lengths: Uint32Array } {
    const lengths = new Uint32Array(Math.max(offsets.length - 1, 0))
    const tokens = this.encodeInPlace(bytes, offsets, lengths)
    return { tokens: this.totalSize <= 0x10000 ? new Uint16Array(tokens) : new Uint32Array(tokens), lengths }
  }

  /**
   * `encodeBatch` without allocation: the tokens belong to the engine and are valid until the next call; their number per
   * document goes to `lengths`. Bytes and offsets may be in shared memory.
   */
  encodeInPlace(bytes: Uint8Array, offsets: Uint32Array, lengths: Uint32Array): Uint16Array | Uint32Array {
    const documents = offsets.length - 1
    const first = offsets[0] ?? 0
    const byteLength = documents > 0 ? offsets[documents]! - first : 0
    this.engine.reserve(byteLength + SLACK, 0)
    this.engine.bytes.set(bytes.subarray(first, first + byteLength))
    let at = 0
    for (let i = 0; i < documents; i++) {
      const next = this.encodeLoaded(offsets[i]! - first, offsets[i + 1]! - first, at, byteLength)
      lengths[i] = next - at
      at = next
    }
    return this.engine.tokens.subarray(0, at)
  }

  decode(ids: Iterable<number>, options: { readonly skipSpecialTokens?: boolean } = {}): string {
    const { added, decoders } = this.common
    const pieces: string[] = []
    for (const id of ids) {
      const token = this.tokenOf(id)
      if (token === undefined) continue
      if (options.skipSpecialTokens === true && added.isSpecial(token)) continue
      pieces.push(token)
    }
    if (decoders === undefined) return pieces.join(' ')
    return decoders.reduce((current: readonly string[], step) => step(current), pieces).join('')
  }

  /** The engine's views are read only after encoding, which may replace them. */
  private takeTokens(count: number): Uint32Array {
    return new Uint32Array(this.engine.tokens.subarray(0, count))
  }

  private tokenOf(id: number): string | undefined {
    this.tokenOfId ??= this.tokensById()
    return this.tokenOfId[id]
  }

  private tokensById(): string[] {
    const { vocabulary, added, repeated = [] } = this.common
    const tokens: string[] = []
    for (const [id, token] of repeated) tokens[id] = token
    for (const [token, id] of vocabulary) tokens[id] = token
    for (const { id } of added.tokens) tokens[id] = added.textOf(id)!
    return tokens
  }
}
