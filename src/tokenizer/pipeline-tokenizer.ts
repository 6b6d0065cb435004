/**
 * The general tokenizer: normalizers, pre-tokenizers and model of a tokenizer.json, applied as the Rust library does. Where
 * the pipeline allows it, texts are encoded in chunks of about a word, whose tokens are cached.
 */
import { WordCache } from './engine/word-cache.js'
import type { ChunkRules } from './file/chunk-rules.js'
import type { PipelinePlan } from './file/tokenizer-json.js'
import { codePointAt } from './patterns/pretokenize.js'
import { AddedTokenFinder } from './steps/added-tokens.js'
import { preTokenize } from './steps/pre-tokenizers.js'
import type { Edges, TextPiece } from './steps/text-normalizers.js'
import { TokenizerBase } from './tokenizer-base.js'

/** Longer chunks, and pieces, are not cached. */
const MAX_CACHED_BYTES = 256
const MAX_CACHED_PIECES = 1 << 16

const [SPACE, SLACK] = [0x20, 64]
const WHOLE: Edges = { isFirst: true, isLast: true }
const INNER: Edges = { isFirst: false, isLast: false }

export class PipelineTokenizer extends TokenizerBase {
  private readonly plan: PipelinePlan
  private readonly rawFinder: AddedTokenFinder
  private readonly normalizedFinder: AddedTokenFinder
  private cache: WordCache | undefined
  private readonly pieceIds = new Map<string, readonly number[]>()
  private input = new Uint8Array(4096)
  private view = new DataView(this.input.buffer)
  private ids = new Uint32Array(4096)
  private count = 0
  private readonly encoder = new TextEncoder()
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(plan: PipelinePlan) {
    const cached = plan.chunks === undefined ? 'without a cache for words' : 'with a cache for words'
    super(plan, { fast: plan.chunks !== undefined, why: `our general pipeline in TypeScript, ${cached}` })
    this.plan = plan
    const { added } = plan
    this.rawFinder = new AddedTokenFinder(added.tokens.filter(token => !token.normalized))
    this.normalizedFinder = new AddedTokenFinder(
      added.tokens.filter(token => token.normalized),
      token => added.searchedTextOf(token),
    )
  }

  encode(text: string): Uint32Array {
    this.reserveInput(text.length * 3)
    return this.encodeInput(this.encoder.encodeInto(text, this.input).written)
  }

  encodeBytes(bytes: Uint8Array, start = 0, end = bytes.length): Uint32Array {
    this.reserveInput(end - start)
    this.input.set(bytes.subarray(start, end))
    return this.encodeInput(end - start)
  }

  private reserveInput(length: number): void {
    if (this.input.length >= length + SLACK) return
    this.input = new Uint8Array((length + SLACK) * 2)
    this.view = new DataView(this.input.buffer)
  }

  private encodeInput(length: number): Uint32Array {
    this.count = 0
    this.push(this.plan.before)
    if (this.rawFinder.firstIn(this.input, 0, length) < 0) this.encodePart(0, length)
    else {
      for (const { token, start, end } of this.rawFinder.split(this.input, 0, length)) {
        if (token === undefined) this.encodePart(start, end)
        else this.push([token.id])
      }
    }
    this.push(this.plan.after)
    return this.ids.slice(0, this.count)
  }

  private push(ids: readonly number[]): void {
    this.reserveIds(ids.length)
    for (const id of ids) this.ids[this.count++] = id
  }

  private reserveIds(length: number): void {
    if (this.ids.length >= this.count + length) return
    const larger = new Uint32Array((this.count + length) * 2)
    larger.set(this.ids)
    this.ids = larger
  }

  /** Encodes text between added tokens. */
  private encodePart(start: number, end: number): void {
    const { chunks } = this.plan
    const before = this.count
    if (chunks !== undefined && this.encodeChunks(start, end, chunks)) return
    this.count = before
    this.encodeNormalized(this.normalize(this.textOf(start, end), start === 0, WHOLE))
  }

  /** Returns false if the text has to be encoded as a whole. */
  private encodeChunks(start: number, end: number, chunks: ChunkRules): boolean {
    for (let from = start; from < end; ) {
      const to = this.chunkEnd(from, end, chunks)
      const edges = from > start && to < end ? INNER : { isFirst: from === start, isLast: to === end }
      if (!this.encodeChunk(from, to, edges, from === 0)) return false
      from = to
    }
    return true
  }

  private chunkEnd(start: number, end: number, { mayEndWith }: ChunkRules): number {
    const { input } = this
    for (let at = start + 1; at < end; at++) {
      if (input[at] === SPACE && mayEndWith(this.characterBefore(at))) return at
    }
    return end
  }

  private characterBefore(at: number): number {
    let start = at - 1
    while ((this.input[start]! & 0xc0) === 0x80) start--
    return codePointAt(this.input, start)
  }

  private encodeChunk(start: number, end: number, edges: Edges, isDocumentStart: boolean): boolean {
    const isCached = edges === INNER && end - start <= MAX_CACHED_BYTES
    if (isCached) {
      this.reserveIds(4 * MAX_CACHED_BYTES)
      this.cache ??= new WordCache()
      const known = this.cache.find(this.input, this.view, start, end, this.ids, this.count)
      if (known >= 0) {
        this.count += known
        return true
      }
    }
    const piece = this.normalize(this.textOf(start, end), isDocumentStart, edges)
    if (!this.normalizedFinder.isEmpty && this.hasAddedToken(piece.text)) return false
    const before = this.count
    this.encodeText(piece)
    if (isCached && this.count - before <= 4 * MAX_CACHED_BYTES) {
      const ids = this.ids.subarray(before, this.count)
      this.cache?.add(this.input, this.view, start, end, ids, ids.length)
    }
    return true
  }

  private hasAddedToken(text: string): boolean {
    const bytes = this.encoder.encode(text)
    return this.normalizedFinder.firstIn(bytes, 0, bytes.length) >= 0
  }

  private textOf(start: number, end: number): string {
    return this.decoder.decode(this.input.subarray(start, end))
  }

  private normalize(text: string, isDocumentStart: boolean, edges: Edges): TextPiece {
    const isTracked = this.plan.needsDocumentStart && isDocumentStart && text !== ''
    const fromFirst = !isTracked ? 0 : text.codePointAt(0)! > 0xffff ? 2 : 1
    const piece: TextPiece = { text, fromFirst }
    return this.plan.normalizers.reduce((current, step) => step.apply(current, edges), piece)
  }

  /** Encodes normalized text, in which further added tokens may occur. */
  private encodeNormalized(piece: TextPiece): void {
    if (this.normalizedFinder.isEmpty) {
      this.encodeText(piece)
      return
    }
    const bytes = this.encoder.encode(piece.text)
    let done = 0
    for (const { token, start, end } of this.normalizedFinder.split(bytes, 0, bytes.length)) {
      if (token !== undefined) {
        this.push([token.id])
        continue
      }
      if (start > 0) done = this.decoder.decode(bytes.subarray(0, start)).length
      const text = this.decoder.decode(bytes.subarray(start, end))
      this.encodeText({ text, fromFirst: Math.min(Math.max(piece.fromFirst - done, 0), text.length) })
    }
  }

  private encodeText(piece: TextPiece): void {
    for (const { text } of preTokenize(piece, this.plan.preTokenizers)) this.push(this.idsOfPiece(text))
  }

  private idsOfPiece(text: string): readonly number[] {
    if (text.length > MAX_CACHED_BYTES) return this.plan.model.encode(text)
    const known = this.pieceIds.get(text)
    if (known !== undefined) return known
    const ids = this.plan.model.encode(text)
    if (this.pieceIds.size >= MAX_CACHED_PIECES) this.pieceIds.clear()
    this.pieceIds.set(text, ids)
    return ids
  }
}
