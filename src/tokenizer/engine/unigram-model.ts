/**
 * Unigram as in the Rust library: the sequence of pieces with the highest total score, in 64-bit floats. Neighbouring unknown
 * characters are one unknown token, or their bytes. unigram.ts follows Google's library, whose sums are 32-bit.
 */
import { type Model, missingUnknown } from './model.js'

export interface UnigramVocabulary {
  readonly pieces: readonly (readonly [piece: string, score: number])[]
  readonly unknownId: number | undefined
  readonly hasByteFallback: boolean
}

/** Score difference between the least likely piece and an unknown character. */
const UNKNOWN_PENALTY = 10

const encoder = new TextEncoder()

export class UnigramModel implements Model {
  private readonly vocabulary: UnigramVocabulary
  private readonly ids: ReadonlyMap<string, number>
  private readonly trie = new Trie()
  private readonly unknownScore: number
  private readonly byteIds: readonly (number | undefined)[]
  private scores = new Float64Array(256)
  private starts = new Int32Array(256)
  private pieceIds = new Int32Array(256)

  constructor(vocabulary: UnigramVocabulary) {
    this.vocabulary = vocabulary
    this.ids = new Map(vocabulary.pieces.map(([piece], id) => [piece, id]))
    for (const [piece, id] of this.ids) if (piece !== '') this.trie.add(piece, id)
    const lowest = vocabulary.pieces.reduce((least, [, score]) => Math.min(least, score), Number.POSITIVE_INFINITY)
    this.unknownScore = lowest - UNKNOWN_PENALTY
    this.byteIds = Array.from({ length: 256 }, (_, byte) =>
      this.ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
    )
  }

  encode(text: string): number[] {
    this.findBestPath(text)
    const ids: number[] = []
    /** End of the unknown text before which the path is known. */
    let unknownEnd = -1
    for (let end = text.length; end > 0; ) {
      const start = this.starts[end]!
      const isUnknown = this.pieceIds[end] === this.vocabulary.unknownId
      if (isUnknown && unknownEnd < 0) unknownEnd = end
      if (!isUnknown) {
        if (unknownEnd >= 0) this.pushReversed(ids, text.slice(end, unknownEnd))
        unknownEnd = -1
        ids.push(this.pieceIds[end]!)
      }
      end = start
    }
    if (unknownEnd >= 0) this.pushReversed(ids, text.slice(0, unknownEnd))
    return ids.reverse()
  }

  private pushReversed(ids: number[], text: string): void {
    const known = this.ids.get(text)
    if (known !== undefined) {
      ids.push(known)
      return
    }
    if (this.vocabulary.hasByteFallback) {
      const bytes = Array.from(encoder.encode(text), byte => this.byteIds[byte])
      if (bytes.every(id => id !== undefined)) {
        ids.push(...bytes.reverse())
        return
      }
    }
    ids.push(this.vocabulary.unknownId ?? missingUnknown(undefined))
  }

  /** Fills `starts` and `pieceIds` with the last piece of the best path to each position. */
  private findBestPath(text: string): void {
    if (this.scores.length <= text.length) {
      this.scores = new Float64Array(text.length * 2)
      this.starts = new Int32Array(text.length * 2)
      this.pieceIds = new Int32Array(text.length * 2)
    }
    const { scores, starts, pieceIds, trie } = this
    const { pieces, unknownId } = this.vocabulary
    scores.fill(0, 0, text.length + 1)
    starts.fill(-1, 0, text.length + 1)
    const offer = (start: number, end: number, score: number, id: number): void => {
      const sum = score + scores[start]!
      if (starts[end]! >= 0 && sum <= scores[end]!) return
      if (id < 0) missingUnknown(undefined)
      scores[end] = sum
      starts[end] = start
      pieceIds[end] = id
    }
    for (let start = 0; start < text.length; ) {
      const next = start + (text.codePointAt(start)! > 0xffff ? 2 : 1)
      let hasSingle = false
      let node = 0
      for (let end = start; end < text.length; ) {
        node = trie.child(node, text.charCodeAt(end++))
        if (node < 0) break
        const id = trie.idAt(node)
        if (id < 0) continue
        offer(start, end, pieces[id]![1], id)
        if (end === next) hasSingle = true
      }
      if (!hasSingle) offer(start, next, this.unknownScore, unknownId ?? -1)
      start = next
    }
  }
}

/** Trie over code units; an open-addressing table maps (node, unit) to the child. */
class Trie {
  private keys = new Float64Array(1 << 12).fill(-1)
  private children = new Int32Array(1 << 12)
  private ids = new Int32Array(1 << 10).fill(-1)
  private nodeCount = 1

  add(text: string, id: number): void {
    let node = 0
    for (let at = 0; at < text.length; at++) node = this.childOrNew(node, text.charCodeAt(at))
    this.ids[node] = id
  }

  /** The child, or -1. */
  child(node: number, unit: number): number {
    const slot = this.slotOf(node, unit)
    return this.keys[slot] === -1 ? -1 : this.children[slot]!
  }

  /** Id of the text that ends at the node, or -1. */
  idAt(node: number): number {
    return this.ids[node]!
  }

  private childOrNew(node: number, unit: number): number {
    const slot = this.slotOf(node, unit)
    if (this.keys[slot] !== -1) return this.children[slot]!
    const child = this.nodeCount++
    this.keys[slot] = node * 0x10000 + unit
    this.children[slot] = child
    if (child >= this.ids.length) {
      const ids = new Int32Array(this.ids.length * 2).fill(-1)
      ids.set(this.ids)
      this.ids = ids
    }
    if (this.nodeCount * 2 > this.keys.length) this.grow()
    return child
  }

  private slotOf(node: number, unit: number): number {
    const { keys } = this
    const key = node * 0x10000 + unit
    const mask = keys.length - 1
    let hash = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)
    hash ^= hash >>> 15
    let slot = hash & mask
    while (keys[slot] !== key && keys[slot] !== -1) slot = (slot + 1) & mask
    return slot
  }

  private grow(): void {
    const { keys, children } = this
    this.keys = new Float64Array(keys.length * 2).fill(-1)
    this.children = new Int32Array(keys.length * 2)
    for (const [old, key] of keys.entries()) {
      if (key === -1) continue
      const slot = this.slotOf(Math.floor(key / 0x10000), key % 0x10000)
      this.keys[slot] = key
      this.children[slot] = children[old]!
    }
  }
}
