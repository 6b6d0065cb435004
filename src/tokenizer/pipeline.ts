/**
 * Normalizers, pre-tokenizers and model of a tokenizer.json, applied as the Rust library does to a text without added tokens
 * that are searched before normalization.
 */
import { MAX_CHUNK_TOKENS, type WordEncoder } from './engine/engine.js'
import type { PipelinePlan } from './file/tokenizer-json.js'
import { AddedTokenFinder } from './steps/added-tokens.js'
import { preTokenize } from './steps/pre-tokenizers.js'
import type { Edges, TextPiece } from './steps/text-normalizers.js'

/** Longer pieces, and more of them, are not cached. */
const [MAX_CACHED_LENGTH, MAX_CACHED_PIECES] = [256, 1 << 16]

/** Where a text is in its document. */
export interface Place extends Edges {
  /** Whether it contains the first character of the document. */
  readonly isDocumentStart: boolean
}

const INNER: Place = { isFirst: false, isLast: false, isDocumentStart: false }

/** Thrown for a chunk if the text that contains it has to be encoded as a whole. */
export const NOT_LOCAL = new Error('the chunk depends on the text around it')

export class Pipeline implements WordEncoder {
  ids = new Uint32Array(1024)
  private count = 0
  private readonly plan: PipelinePlan
  private readonly finder: AddedTokenFinder
  private readonly pieceIds = new Map<string, readonly number[]>()
  private readonly encoder = new TextEncoder()
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(plan: PipelinePlan) {
    this.plan = plan
    const { added } = plan
    this.finder = new AddedTokenFinder(
      added.tokens.filter(token => token.normalized),
      token => added.searchedTextOf(token),
    )
  }

  /** Encodes a chunk as it is inside a text. @throws NOT_LOCAL */
  encodeWord(bytes: Uint8Array, start: number, end: number): number {
    const count = this.encodeChunk(this.textOf(bytes, start, end), INNER)
    if (count > MAX_CHUNK_TOKENS * (end - start)) throw NOT_LOCAL
    return count
  }

  /** Encodes a chunk into `ids`; returns the number of tokens. @throws NOT_LOCAL */
  encodeChunk(text: string, place: Place): number {
    this.count = 0
    const piece = this.normalize(text, place)
    if (!this.finder.isEmpty && this.hasAddedToken(piece.text)) throw NOT_LOCAL
    this.encodePieces(piece)
    return this.count
  }

  /** Encodes a text between added tokens into `ids`; returns the number of tokens. */
  encodeWhole(text: string, isDocumentStart: boolean): number {
    this.count = 0
    const piece = this.normalize(text, { isFirst: true, isLast: true, isDocumentStart })
    if (this.finder.isEmpty) this.encodePieces(piece)
    else this.encodeAroundTokens(piece)
    return this.count
  }

  textOf(bytes: Uint8Array, start: number, end: number): string {
    return this.decoder.decode(bytes.subarray(start, end))
  }

  private hasAddedToken(text: string): boolean {
    const bytes = this.encoder.encode(text)
    return this.finder.firstIn(bytes, 0, bytes.length) >= 0
  }

  private normalize(text: string, place: Place): TextPiece {
    const isTracked = this.plan.needsDocumentStart && place.isDocumentStart && text !== ''
    const fromFirst = !isTracked ? 0 : text.codePointAt(0)! > 0xffff ? 2 : 1
    const piece: TextPiece = { text, fromFirst }
    return this.plan.normalizers.reduce((current, step) => step.apply(current, place), piece)
  }

  /** Encodes normalized text in which further added tokens may occur. */
  private encodeAroundTokens(piece: TextPiece): void {
    const bytes = this.encoder.encode(piece.text)
    let done = 0
    for (const { token, start, end } of this.finder.split(bytes, 0, bytes.length)) {
      if (token !== undefined) {
        this.push([token.id])
        continue
      }
      if (start > 0) done = this.textOf(bytes, 0, start).length
      const text = this.textOf(bytes, start, end)
      this.encodePieces({ text, fromFirst: Math.min(Math.max(piece.fromFirst - done, 0), text.length) })
    }
  }

  private encodePieces(piece: TextPiece): void {
    for (const { text } of preTokenize(piece, this.plan.preTokenizers)) this.push(this.idsOfPiece(text))
  }

  private push(ids: readonly number[]): void {
    if (this.ids.length < this.count + ids.length) {
      const larger = new Uint32Array((this.count + ids.length) * 2)
      larger.set(this.ids)
      this.ids = larger
    }
    for (const id of ids) this.ids[this.count++] = id
  }

  private idsOfPiece(text: string): readonly number[] {
    // The engine caches the chunks, most of which are one piece.
    if (this.plan.chunks !== undefined || text.length > MAX_CACHED_LENGTH) return this.plan.model.encode(text)
    const known = this.pieceIds.get(text)
    if (known !== undefined) return known
    const ids = this.plan.model.encode(text)
    if (this.pieceIds.size >= MAX_CACHED_PIECES) this.pieceIds.clear()
    this.pieceIds.set(text, ids)
    return ids
  }
}
