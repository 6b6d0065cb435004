/**
 * Unigram as in the Rust library: the sequence of pieces with the highest total score, in 64-bit floats. Neighbouring unknown
 * characters are one unknown token, or their bytes. unigram.ts follows Google's library, whose sums are 32-bit.
 */
import { sequenceLength } from '../patterns/pretokenize.js'
import { NONE } from './bpe.js'
import { type ByteTrie, buildByteTrie, childOf, IS_END, NODE_MASK } from './byte-trie.js'
import { type Model, missingUnknown } from './model.js'

export interface UnigramVocabulary {
  readonly pieces: readonly (readonly [piece: string, score: number])[]
  readonly unknownId: number | undefined
  readonly hasByteFallback: boolean
}

/** Finds the best path through a text in its own buffer. The kernel has the same in kernel/kernel-segmenter.ts. */
export interface Segmenter {
  /** Makes room for that many bytes; their content is lost. */
  reserve(byteLength: number): void
  /** Input buffer, UTF-8; replaced by `reserve`. */
  readonly bytes: Uint8Array
  /** The path from its end: start and id of each piece. Replaced by `reserve`. */
  readonly path: Uint32Array
  /** Segments bytes[0, length) to `path`; returns the number of pieces, or -1 if it needs a missing unknown token. */
  segment(length: number): number
}

/** The parts of a vocabulary that a segmenter needs. */
export interface SegmenterPlan {
  readonly trie: ByteTrie
  /** By id. */
  readonly scores: Float64Array
  /** NONE if there is none. */
  readonly unknownId: number
  readonly unknownScore: number
}

/** Score difference between the least likely piece and an unknown character. */
const UNKNOWN_PENALTY = 10

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

export class UnigramModel implements Model {
  private readonly vocabulary: UnigramVocabulary
  private readonly ids: ReadonlyMap<string, number>
  private readonly segmenter: Segmenter
  private readonly byteIds: readonly (number | undefined)[]

  constructor(vocabulary: UnigramVocabulary, createSegmenter: (plan: SegmenterPlan) => Segmenter) {
    this.vocabulary = vocabulary
    const { pieces, unknownId } = vocabulary
    this.ids = new Map(pieces.map(([piece], id) => [piece, id]))
    const lowest = pieces.reduce((least, [, score]) => Math.min(least, score), Number.POSITIVE_INFINITY)
    this.segmenter = createSegmenter({
      trie: buildByteTrie(this.ids),
      scores: Float64Array.from(pieces, ([, score]) => score),
      unknownId: unknownId ?? NONE,
      unknownScore: lowest - UNKNOWN_PENALTY,
    })
    this.byteIds = Array.from({ length: 256 }, (_, byte) =>
      this.ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
    )
  }

  encode(text: string): number[] {
    const { segmenter, vocabulary } = this
    segmenter.reserve(text.length * 3)
    const length = encoder.encodeInto(text, segmenter.bytes).written
    const count = segmenter.segment(length)
    if (count < 0) missingUnknown(undefined)
    const ids: number[] = []
    let end = length
    /** End of the unknown text before which the path is known. */
    let unknownEnd = -1
    for (let at = 0; at < count; at++) {
      const id = segmenter.path[2 * at + 1]!
      if (id !== vocabulary.unknownId) {
        if (unknownEnd >= 0) this.pushReversed(ids, end, unknownEnd)
        unknownEnd = -1
        ids.push(id)
      } else if (unknownEnd < 0) unknownEnd = end
      end = segmenter.path[2 * at]!
    }
    if (unknownEnd >= 0) this.pushReversed(ids, 0, unknownEnd)
    return ids.reverse()
  }

  private pushReversed(ids: number[], start: number, end: number): void {
    const bytes = this.segmenter.bytes.subarray(start, end)
    const known = this.ids.get(decoder.decode(bytes))
    if (known !== undefined) {
      ids.push(known)
      return
    }
    if (this.vocabulary.hasByteFallback) {
      const tokens = Array.from(bytes, byte => this.byteIds[byte])
      if (tokens.every(id => id !== undefined)) {
        for (const id of tokens.reverse()) ids.push(id)
        return
      }
    }
    ids.push(this.vocabulary.unknownId ?? missingUnknown(undefined))
  }
}

export const createSegmenter = (plan: SegmenterPlan): Segmenter => new TypeScriptSegmenter(plan)

class TypeScriptSegmenter implements Segmenter {
  bytes = new Uint8Array(0)
  path = new Uint32Array(0)
  /** Of the best path to each position. */
  private scores = new Float64Array(0)
  /** Start of its last piece, or NONE. */
  private starts = new Uint32Array(0)
  private pieces = new Uint32Array(0)
  private readonly plan: SegmenterPlan

  constructor(plan: SegmenterPlan) {
    this.plan = plan
  }

  reserve(byteLength: number): void {
    if (this.bytes.length >= byteLength && this.bytes.length > 0) return
    const length = Math.max(256, byteLength * 2)
    this.bytes = new Uint8Array(length)
    this.path = new Uint32Array(2 * length)
    this.scores = new Float64Array(length + 1)
    this.starts = new Uint32Array(length + 1)
    this.pieces = new Uint32Array(length + 1)
  }

  segment(length: number): number {
    if (!this.findBestPath(length)) return -1
    let count = 0
    for (let end = length; end > 0; end = this.starts[end]!) {
      this.path[2 * count] = this.starts[end]!
      this.path[2 * count + 1] = this.pieces[end]!
      count++
    }
    return count
  }

  private findBestPath(length: number): boolean {
    const { bytes, starts } = this
    const { trie, scores, unknownId, unknownScore } = this.plan
    starts.fill(NONE, 0, length + 1)
    this.scores[0] = 0
    for (let start = 0; start < length; ) {
      const next = start + sequenceLength(bytes[start]!)
      let hasSingle = false
      let node = 0
      for (let end = start; end < length; ) {
        const child = childOf(trie, node, bytes[end++]!)
        if (child === 0) break
        node = child & NODE_MASK
        if (child < IS_END) continue
        const id = trie.ends[node]!
        this.offer(start, end, scores[id]!, id)
        if (end === next) hasSingle = true
      }
      if (!hasSingle && !this.offer(start, next, unknownScore, unknownId)) return false
      start = next
    }
    return true
  }

  /** Returns false if the path would need a missing unknown token. */
  private offer(start: number, end: number, score: number, id: number): boolean {
    const { scores, starts } = this
    const sum = score + scores[start]!
    if (starts[end] !== NONE && sum <= scores[end]!) return true
    scores[end] = sum
    starts[end] = start
    this.pieces[end] = id
    return id !== NONE
  }
}
