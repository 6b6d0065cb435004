/**
 * The public tokenizer: added tokens, normalization and post-processing around an engine. Each method follows the Hugging
 * Face tokenizer of the same file, called with add_special_tokens.
 */
import { PenstockError } from '../errors.js'
import { createEngine, type Engine, type HostRules } from './engine/engine.js'
import { readSentencePiecePlan } from './file/sentencepiece.js'
import { readPlan, type TokenizerPlan, type TokenizerSource } from './file/tokenizer-json.js'
import type { TemplateTokens } from './fit-length.js'
import { KernelEngine, type KernelSource, whyNoKernel } from './kernel/kernel-engine.js'
import { type AddedToken, AddedTokenFinder } from './steps/added-tokens.js'
import { changingCodePoints, firstByteToNormalize, normalizeBytes, normalizeText } from './steps/normalize.js'

/** Engine used, and why; `fast` is false for one without a word cache. */
export interface EngineInfo {
  readonly fast: boolean
  readonly why: string
}

export interface Tokenizer {
  /** Tokens of the model without added ones: what Modalities calls the vocabulary size. */
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
const SLACK = 64

/** Limit for the growth of all added tokens under normalization, in characters, plus a multiple of their length. */
const [MAX_NORMALIZED, MAX_TIMES] = [1 << 20, 16]

export class FastTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly totalSize: number
  readonly engineInfo: EngineInfo
  readonly templateTokens: TemplateTokens
  readonly plan: TokenizerPlan
  readonly engine: Engine
  /** The spelling of each added token in normalized text. */
  private readonly searched: ReadonlyMap<AddedToken, string>
  private readonly rawFinder: AddedTokenFinder
  private readonly normalizedFinder: AddedTokenFinder
  private readonly addedByContent: ReadonlyMap<string, AddedToken>
  private readonly specialIds: ReadonlySet<number>
  private tokenOfId: (string | undefined)[] | undefined
  private readonly encoder = new TextEncoder()
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(plan: TokenizerPlan, engine: Engine, why: string) {
    this.plan = plan
    this.engine = engine
    this.engineInfo = { fast: true, why }
    this.vocabSize = plan.vocabulary.size
    this.totalSize = plan.totalSize
    this.templateTokens = { before: plan.before.length, after: plan.after.length }
    this.specialIds = new Set(plan.addedTokens.filter(token => token.special).map(token => token.id))
    this.addedByContent = new Map(plan.addedTokens.map(token => [token.content, token]))
    this.searched = searchedContents(plan)
    this.rawFinder = new AddedTokenFinder(plan.addedTokens.filter(token => !token.normalized))
    this.normalizedFinder = new AddedTokenFinder(
      plan.addedTokens.filter(token => token.normalized),
      token => this.searched.get(token)!,
    )
    engine.setHostRules(this.hostRules(engine.setTemplate(plan.before, plan.after)))
  }

  get how(): EngineInfo {
    return this.engineInfo
  }

  get around(): TemplateTokens {
    return this.templateTokens
  }

  idOf(token: string): number | undefined {
    return this.addedByContent.get(token)?.id ?? this.plan.vocabulary.get(token)
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
    const pieces: string[] = []
    for (const id of ids) {
      const token = this.tokenOf(id)
      if (token === undefined) continue
      if (options.skipSpecialTokens === true && this.specialIds.has(id)) continue
      pieces.push(token)
    }
    const { decoders } = this.plan
    if (decoders === undefined) return pieces.join(' ')
    return decoders.reduce((current: readonly string[], step) => step(current), pieces).join('')
  }

  /**
   * Encodes the document engine.bytes[start, end) to engine.tokens[at...]; returns the position after its tokens. Keeps the
   * bytes before `scratch` (by default `end`).
   */
  encodeLoaded(start: number, end: number, at: number, scratch = end): number {
    const { before, after } = this.plan
    const isForHost = this.engine.needsHost(start, end)
    if (isForHost || before.length + after.length > 0) {
      this.engine.reserve(Math.max(scratch, at + before.length + end - start + after.length) + SLACK, at)
    }
    if (!isForHost) return this.engine.encodeDocument(start, end, at)
    let next = at
    for (const id of before) this.engine.tokens[next++] = id
    next = this.encodeText(start, end, next, scratch)
    for (const id of after) this.engine.tokens[next++] = id
    return next
  }

  private encodeText(start: number, end: number, at: number, scratch: number): number {
    const { engine, rawFinder } = this
    let next = at
    for (const piece of rawFinder.split(engine.bytes, start, end)) {
      if (piece.token !== undefined) engine.tokens[next++] = piece.token.id
      else next = this.encodeNormalized(piece.start, piece.end, next, piece.start === start, scratch)
    }
    return next
  }

  /** Normalizes a piece between added tokens, and finds the added tokens that are matched in normalized text. */
  private encodeNormalized(start: number, end: number, at: number, isFirst: boolean, scratch: number): number {
    const { engine, plan } = this
    let from = start
    let to = end
    const normalized =
      plan.normalizer.length === 0 ? undefined : normalizeBytes(engine.bytes, start, end, plan.normalizer)
    if (normalized !== undefined) [from, to] = this.place(normalized, scratch, at)
    const free = Math.max(scratch, to)
    let next = at
    for (const piece of this.normalizedFinder.split(engine.bytes, from, to)) {
      if (piece.token !== undefined) engine.tokens[next++] = piece.token.id
      else next = this.encodePiece(piece.start, piece.end, next, isFirst && piece.start === from, free)
    }
    return next
  }

  private encodePiece(start: number, end: number, at: number, isFirst: boolean, scratch: number): number {
    const { prefix, spaceReplacement } = this.plan
    if (prefix === undefined && spaceReplacement === undefined) return this.engine.encode(start, end, at)
    let text = this.decoder.decode(this.engine.bytes.subarray(start, end))
    if (spaceReplacement !== undefined) text = text.replaceAll(' ', spaceReplacement)
    if (prefix !== undefined && (isFirst || prefix.where === 'every') && !text.startsWith(prefix.text))
      text = prefix.text + text
    const [from, to] = this.place(this.encoder.encode(text), scratch, at)
    return this.engine.encode(from, to, at)
  }

  /** Appends bytes to the engine's input, with room for their tokens; returns their range. */
  private place(bytes: Uint8Array, scratch: number, at: number): [number, number] {
    const end = scratch + bytes.length
    this.engine.reserve(Math.max(end, at + bytes.length) + SLACK, at)
    this.engine.bytes.set(bytes, scratch)
    return [scratch, end]
  }

  /** The engine's views are read only after encoding, which may replace them. */
  private takeTokens(count: number): Uint32Array {
    return new Uint32Array(this.engine.tokens.subarray(0, count))
  }

  private hostRules(hasTemplate: boolean): HostRules {
    const { normalizer, before, after, prefix, spaceReplacement, addedTokens } = this.plan
    const isForm = normalizer.every(step => step.kind === 'form')
    return {
      seesAll:
        (!hasTemplate && before.length + after.length > 0) ||
        !isForm ||
        prefix !== undefined ||
        spaceReplacement !== undefined,
      changing: isForm && normalizer.length > 0 ? changingCodePoints(normalizer) : undefined,
      firstByte: firstByteToNormalize(normalizer),
      tokens: addedTokens
        .map(token => this.encoder.encode(this.searched.get(token)!))
        .filter(bytes => bytes.length > 0),
    }
  }

  private tokenOf(id: number): string | undefined {
    this.tokenOfId ??= this.tokensById()
    return this.tokenOfId[id]
  }

  private tokensById(): string[] {
    const tokens: string[] = []
    for (const [token, id] of this.plan.vocabulary) tokens[id] = token
    for (const token of this.plan.addedTokens) tokens[token.id] = this.searched.get(token)!
    return tokens
  }
}

/** @throws TOKENIZER_INVALID if the normalizer makes them grow too much */
function searchedContents({ addedTokens, normalizer }: TokenizerPlan): Map<AddedToken, string> {
  const steps = normalizer.filter(step => step.kind !== 'map')
  let room = addedTokens.reduce((sum, { content }) => sum + MAX_TIMES * content.length, MAX_NORMALIZED)
  const searched = ({ content, normalized }: AddedToken): string => {
    if (!normalized) return content
    return steps.reduce((text, step) => {
      room -= (text.length + 1) * step.growth.perCharacter + step.growth.once
      if (room < 0) throw new PenstockError('TOKENIZER_INVALID', 'the normalizer makes the added tokens too long')
      return normalizeText(text, [step])
    }, content)
  }
  return new Map(addedTokens.map(token => [token, searched(token)]))
}

export interface LoadOptions {
  /** The compiled kernel (penstock-ml/kernel.wasm) or its module; without it, the TypeScript engine is used. */
  readonly wasm?: KernelSource | undefined
}

/**
 * Creates a tokenizer from a tokenizer.json: its text, its bytes, or the parsed object.
 *
 * @throws TOKENIZER_INVALID, UNSUPPORTED
 */
export function loadTokenizer(json: TokenizerSource, options: LoadOptions = {}): FastTokenizer {
  const plan = readPlan(json, options.wasm)
  if (plan.totalSize === 0) throw new PenstockError('TOKENIZER_INVALID', 'this tokenizer.json has no tokens')
  const reason = options.wasm === undefined ? 'no kernel was given' : whyNoKernel(plan)
  if (options.wasm === undefined || reason !== undefined) {
    return new FastTokenizer(plan, createEngine(plan), `our engine in TypeScript: ${reason}`)
  }
  return new FastTokenizer(plan, new KernelEngine(options.wasm, plan), 'our engine in WebAssembly')
}

/** @deprecated use `loadTokenizer`: no other library serves the files that it rejects */
export async function loadAnyTokenizer(json: TokenizerSource, options: LoadOptions = {}): Promise<Tokenizer> {
  return loadTokenizer(json, options)
}

/**
 * Creates a tokenizer from the bytes of a SentencePiece `.model` file; like Google's library, it adds no control tokens.
 *
 * @throws TOKENIZER_INVALID, UNSUPPORTED
 */
export function loadSentencePiece(model: Uint8Array): FastTokenizer {
  const plan = readSentencePiecePlan(model)
  return new FastTokenizer(plan, createEngine(plan), 'our engine in TypeScript: a SentencePiece model')
}
