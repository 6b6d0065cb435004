/**
 * Trains a byte-level BPE vocabulary: repeatedly joins the most frequent pair of neighbouring tokens. The result equals that
 * of the Rust library's BpeTrainer (`tokenizers`, models/bpe/trainer.rs) with the byte alphabet as initial alphabet,
 * including ties: same ids, same merges. Its 32-bit counts overflow on corpora where a pair occurs 2^31 times; these do not.
 *
 * Only the positions of the pair are visited and only the counts of its neighbours change: the cost is proportional to the
 * joins, not vocabulary times corpus. Measured by bench/train-tokenizer.ts.
 */
import { PenstockError } from '../../errors.js'
import { BYTE_CHARACTERS } from '../engine/byte-level.js'
import { MergeQueue } from './merge-queue.js'
import { Neighbours } from './neighbours.js'
import { leftOf, PairCounts, pairKey, rightOf } from './pair-counts.js'
import { NOTHING, Segments } from './segments.js'
import type { WordCountsData } from './word-counts.js'

export interface TrainOptions {
  /** Vocabulary size: special tokens, the 256 bytes and the merges. Smaller if the corpus has no more pairs. */
  readonly vocabSize: number
  /** Minimum frequency of a merged pair. Default 0: no minimum. */
  readonly minFrequency?: number
  /** These get the first ids, in this order. */
  readonly specialTokens?: readonly string[]
  /** Merged tokens must be shorter than this many bytes, except pairs of single bytes. Default: no limit. */
  readonly maxTokenLength?: number
}

export interface TrainedBpe {
  /** Text of each id, bytes written as the characters of the byte alphabet. */
  readonly vocab: readonly string[]
  /** Pairs of ids in the order of their application. */
  readonly merges: readonly (readonly [number, number])[]
  readonly specialTokens: readonly string[]
}

export interface TrainProgress {
  readonly tokenCount: number
  readonly vocabSize: number
}

const MERGES_PER_REPORT = 256
const MAX_VOCAB_SIZE = 2 ** 26

/** @throws OPTION_INVALID, also if the vocabulary is too small for the bytes and the special tokens */
export function trainMerges(
  words: WordCountsData,
  options: TrainOptions,
  onProgress: (progress: TrainProgress) => void = () => {},
): TrainedBpe {
  const { vocabSize, minFrequency = 0, specialTokens = [], maxTokenLength = Number.POSITIVE_INFINITY } = options
  const vocabulary = new Vocabulary(specialTokens)
  requireOption(
    Number.isInteger(vocabSize) && vocabSize >= vocabulary.size && vocabSize <= MAX_VOCAB_SIZE,
    `a vocabulary of ${vocabSize} tokens; expected ${vocabulary.size} to ${MAX_VOCAB_SIZE}`,
  )
  requireOption(minFrequency >= 0, `a minimum frequency of ${minFrequency}; expected 0 or more`)
  requireOption(maxTokenLength >= 2, `a maximum token length of ${maxTokenLength} bytes; expected 2 or more`)
  requireOption(!specialTokens.includes(''), 'an empty special token')
  const trainer = new Trainer(words, vocabulary, vocabSize, maxTokenLength)
  const merges: (readonly [number, number])[] = []
  while (vocabulary.size < vocabSize) {
    const pair = trainer.mergeNext(Math.max(1, minFrequency))
    if (pair === undefined) break
    merges.push(pair)
    if (merges.length % MERGES_PER_REPORT === 0) onProgress({ tokenCount: vocabulary.size, vocabSize })
  }
  onProgress({ tokenCount: vocabulary.size, vocabSize })
  return { vocab: vocabulary.texts, merges, specialTokens: [...new Set(specialTokens)] }
}

function requireOption(holds: boolean, found: string): void {
  if (!holds) throw new PenstockError('OPTION_INVALID', found)
}

/** Special tokens, then the byte alphabet by code point, then the merged tokens. */
class Vocabulary {
  readonly texts: string[] = []
  readonly byteLengths: number[] = []
  readonly idOfByte: Int32Array
  private readonly ids = new Map<string, number>()

  constructor(specialTokens: readonly string[]) {
    for (const token of specialTokens) this.idOf(token, token.length)
    for (const character of BYTE_CHARACTERS.toSorted()) this.byteLengths[this.idOf(character, 1)] = 1
    this.idOfByte = Int32Array.from(BYTE_CHARACTERS, character => this.idOf(character, 1))
  }

  get size(): number {
    return this.texts.length
  }

  /** The id of the text; assigns a new one if it has none. */
  idOf(text: string, byteLength: number): number {
    const known = this.ids.get(text)
    if (known !== undefined) return known
    this.ids.set(text, this.texts.length)
    this.byteLengths.push(byteLength)
    return this.texts.push(text) - 1
  }
}

/**
 * Each token is formed from one pair only, everywhere in one step: so a pair is queued once, with all its positions. (The
 * Rust library stores words instead of positions, and would merge a pair again if it reappeared.)
 */
class Trainer {
  private readonly segments: Segments
  private readonly vocabulary: Vocabulary
  private readonly maxTokenLength: number
  private readonly queue = new MergeQueue()
  private readonly pairCounts = new PairCounts()
  private readonly left: Neighbours
  private readonly right: Neighbours

  constructor(words: WordCountsData, vocabulary: Vocabulary, vocabSize: number, maxTokenLength: number) {
    this.segments = new Segments(words, vocabulary.idOfByte)
    this.vocabulary = vocabulary
    this.maxTokenLength = maxTokenLength
    this.left = new Neighbours(vocabSize)
    this.right = new Neighbours(vocabSize)
    this.queueBytePairs()
  }

  /** Merges the most frequent pair and returns it; `undefined` if none occurs `minFrequency` times. */
  mergeNext(minFrequency: number): readonly [number, number] | undefined {
    while (!this.queue.isEmpty) {
      const { topKey, topCount } = this.queue
      const left = leftOf(topKey)
      const right = rightOf(topKey)
      const count = this.pairCounts.get(left, right)
      if (count !== topCount) {
        this.queue.updateTop(count)
      } else {
        if (count < minFrequency) return undefined
        this.merge(left, right, this.queue.takeTop())
        return [left, right]
      }
    }
    return undefined
  }

  /** One pass over all words that groups the positions by the token that starts there. */
  private queueBytePairs(): void {
    const { segments } = this
    const followers = new Map<number, Neighbours>()
    for (let place = 1; place + 1 < segments.placeCount; place++) {
      const left = segments.tokenAt(place)
      const right = segments.tokenAt(place + 1)
      if (left < 0 || right < 0) continue
      let neighbours = followers.get(left)
      if (neighbours === undefined) {
        neighbours = new Neighbours(this.vocabulary.size)
        followers.set(left, neighbours)
      }
      neighbours.gain(right, segments.countAt(place), place)
    }
    for (const [left, neighbours] of followers) {
      neighbours.forEach((right, _, gain) => {
        this.pairCounts.add(left, right, gain)
      })
      neighbours.drain((right, places) => this.enqueue(left, right, places))
    }
  }

  private merge(left: number, right: number, places: Int32Array): void {
    const { texts, byteLengths } = this.vocabulary
    const leftBytes = byteLengths[left]!
    const bytes = leftBytes + byteLengths[right]!
    const id = this.vocabulary.idOf(texts[left]! + texts[right]!, bytes)
    byteLengths[id] = bytes
    for (const place of places) {
      // An earlier merge has consumed one of the two, or this one has: "aaa" has two positions and one join.
      if (this.segments.tokenAt(place) === left && this.segments.tokenAt(place + leftBytes) === right) {
        this.join(place, leftBytes, bytes, id)
      }
    }
    this.left.forEach((neighbour, loss, gain) => {
      this.pairCounts.add(neighbour, left, -loss)
      if (gain > 0) this.pairCounts.add(neighbour, id, gain)
    })
    this.right.forEach((neighbour, loss, gain) => {
      this.pairCounts.add(right, neighbour, -loss)
      if (gain > 0) this.pairCounts.add(id, neighbour, gain)
    })
    this.left.drain((neighbour, gained) => this.enqueue(neighbour, id, gained))
    this.right.drain((neighbour, gained) => this.enqueue(id, neighbour, gained))
  }

  private join(place: number, leftBytes: number, bytes: number, id: number): void {
    const { segments, maxTokenLength } = this
    const { byteLengths } = this.vocabulary
    const count = segments.countAt(place)
    const previousPlace = segments.previousPlace(place)
    if (previousPlace !== NOTHING) {
      const previous = segments.tokenAt(previousPlace)
      this.left.lose(previous, count)
      if (byteLengths[previous]! + bytes < maxTokenLength) this.left.gain(previous, count, previousPlace)
    }
    segments.join(place, leftBytes, bytes, id)
    const next = segments.tokenAt(place + bytes)
    if (next >= 0) {
      this.right.lose(next, count)
      if (byteLengths[next]! + bytes < maxTokenLength) this.right.gain(next, count, place)
    }
  }

  private enqueue(left: number, right: number, places: Int32Array): void {
    const count = this.pairCounts.get(left, right)
    if (count > 0) this.queue.push(pairKey(left, right), count, places)
  }
}
