/**
 * The public tokenizer: added tokens, normalization and post-processing around an engine. Each method follows the Hugging
 * Face tokenizer of the same file, called with add_special_tokens.
 */
import { PenstockError } from '../errors.js'
import { createEngine, type Engine, type HostRules } from './engine/engine.js'
import { readSentencePiecePlan } from './file/sentencepiece.js'
import { readPlan, type TokenizerPlan, type TokenizerSource } from './file/tokenizer-json.js'
import { KernelEngine, type KernelOptions, whyNoKernel } from './kernel/kernel-engine.js'
import { PipelineTokenizer } from './pipeline-tokenizer.js'
import { AddedTokenFinder } from './steps/added-tokens.js'
import { changingCodePoints, firstByteToNormalize, normalizeBytes } from './steps/normalize.js'
import { SLACK, type Tokenizer, TokenizerBase } from './tokenizer-base.js'

export type { EngineInfo, Tokenizer } from './tokenizer-base.js'

const SPACE = 0x20
const encoder = new TextEncoder()

export class FastTokenizer extends TokenizerBase {
  readonly plan: TokenizerPlan
  private readonly rawFinder: AddedTokenFinder
  private readonly normalizedFinder: AddedTokenFinder

  constructor(plan: TokenizerPlan, engine: Engine, why: string) {
    super(plan, engine, { fast: true, why })
    this.plan = plan
    const { added } = plan
    this.rawFinder = new AddedTokenFinder(added.tokens.filter(token => !token.normalized))
    this.normalizedFinder = new AddedTokenFinder(
      added.tokens.filter(token => token.normalized),
      token => added.searchedTextOf(token),
    )
    engine.setHostRules(this.hostRules(engine.setTemplate(plan.before, plan.after)))
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
      else next = this.encodeNormalized(piece.start, piece.end, next, scratch)
    }
    return next
  }

  /** Normalizes a piece between added tokens, and finds the added tokens that are matched in normalized text. */
  private encodeNormalized(start: number, end: number, at: number, scratch: number): number {
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
      else next = this.encodePiece(piece.start, piece.end, next, free)
    }
    return next
  }

  private encodePiece(start: number, end: number, at: number, scratch: number): number {
    const { engine } = this
    if (!this.plan.addsPrefixSpace || start === end || engine.bytes[start] === SPACE)
      return engine.encode(start, end, at)
    const spaced = new Uint8Array(end - start + 1)
    spaced[0] = SPACE
    spaced.set(engine.bytes.subarray(start, end), 1)
    const [from, to] = this.place(spaced, scratch, at)
    return this.engine.encode(from, to, at)
  }

  /** Appends bytes to the engine's input, with room for their tokens; returns their range. */
  private place(bytes: Uint8Array, scratch: number, at: number): [number, number] {
    const end = scratch + bytes.length
    this.engine.reserve(Math.max(end, at + bytes.length) + SLACK, at)
    this.engine.bytes.set(bytes, scratch)
    return [scratch, end]
  }

  private hostRules(hasTemplate: boolean): HostRules {
    const { normalizer, before, after, addsPrefixSpace, added } = this.plan
    const isForm = normalizer.every(step => step.kind === 'form')
    return {
      seesAll: (!hasTemplate && before.length + after.length > 0) || !isForm || addsPrefixSpace,
      changing: isForm && normalizer.length > 0 ? changingCodePoints(normalizer) : undefined,
      firstByte: firstByteToNormalize(normalizer),
      tokens: added.tokens.map(token => encoder.encode(added.searchedTextOf(token))).filter(bytes => bytes.length > 0),
    }
  }
}

export type { KernelOptions as LoadOptions }

/**
 * Creates a tokenizer from a tokenizer.json: its text, its bytes, or the parsed object.
 *
 * @throws TOKENIZER_INVALID, UNSUPPORTED
 */
export function loadTokenizer(json: TokenizerSource, options: KernelOptions = {}): TokenizerBase {
  const plan = readPlan(json, options.wasm)
  if (plan.totalSize === 0) throw new PenstockError('TOKENIZER_INVALID', 'this tokenizer.json has no tokens')
  if ('model' in plan) return new PipelineTokenizer(plan, options)
  const reason = options.wasm === undefined ? 'no kernel was given' : whyNoKernel(plan)
  if (options.wasm === undefined || reason !== undefined) {
    return new FastTokenizer(plan, createEngine(plan), `our engine in TypeScript: ${reason}`)
  }
  return new FastTokenizer(plan, new KernelEngine(options.wasm, plan, options.cacheBytes), 'our engine in WebAssembly')
}

/** @deprecated use `loadTokenizer`: no other library serves the files that it rejects */
export async function loadAnyTokenizer(json: TokenizerSource, options: KernelOptions = {}): Promise<Tokenizer> {
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
