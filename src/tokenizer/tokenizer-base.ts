/** The parts of a tokenizer that do not depend on its engine: sizes, look-ups, batches and decoding. */
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

export abstract class TokenizerBase implements Tokenizer {
  readonly vocabSize: number
  readonly totalSize: number
  readonly engineInfo: EngineInfo
  readonly templateTokens: TemplateTokens
  private readonly common: CommonPlan
  private tokenOfId: (string | undefined)[] | undefined

  constructor(common: CommonPlan, engineInfo: EngineInfo) {
    this.common = common
    this.engineInfo = engineInfo
    this.vocabSize = common.vocabSize
    this.totalSize = common.totalSize
    this.templateTokens = { before: common.before.length, after: common.after.length }
  }

  abstract encode(text: string): Uint32Array
  abstract encodeBytes(bytes: Uint8Array, start?: number, end?: number): Uint32Array

  get how(): EngineInfo {
    return this.engineInfo
  }

  get around(): TemplateTokens {
    return this.templateTokens
  }

  idOf(token: string): number | undefined {
    return this.common.added.idOf(token) ?? this.common.vocabulary.get(token)
  }

  encodeBatch(bytes: Uint8Array, offsets: Uint32Array): { tokens: Uint16Array | Uint32Array; lengths: Uint32Array } {
    const documents = Array.from({ length: Math.max(offsets.length - 1, 0) }, (_, i) =>
      this.encodeBytes(bytes, offsets[i]!, offsets[i + 1]!),
    )
    const lengths = Uint32Array.from(documents, ids => ids.length)
    const total = lengths.reduce((sum, length) => sum + length, 0)
    const tokens = this.totalSize <= 0x10000 ? new Uint16Array(total) : new Uint32Array(total)
    let at = 0
    for (const ids of documents) {
      tokens.set(ids, at)
      at += ids.length
    }
    return { tokens, lengths }
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
