/**
 * The distinct words of the corpus as their current tokens. One array of 32-bit numbers holds them all, one element per
 * byte: merging two tokens changes a few elements, however long the word is.
 *
 * A token of n bytes has its id at its first element and, for n > 1, -n at its last, so that both neighbours are found in
 * one step. The elements between are INSIDE. Words are separated by BOUNDARY.
 */
import type { WordCountsData } from './word-counts.js'

const INSIDE = -1
const BOUNDARY = -(2 ** 31)
/** No token at this position. */
export const NOTHING = -1

export class Segments {
  private readonly places: Int32Array
  private readonly wordOfPlace: Int32Array
  private readonly counts: Float64Array

  /** Words of one byte have no pairs and are omitted. */
  constructor({ bytes, ends, counts }: WordCountsData, idOfByte: Int32Array) {
    this.counts = counts
    this.places = new Int32Array(bytes.length + counts.length + 1).fill(BOUNDARY)
    this.wordOfPlace = new Int32Array(this.places.length)
    let place = 1
    for (let word = 0, from = 0; word < counts.length; word++) {
      const end = ends[word]!
      if (end - from > 1) {
        this.wordOfPlace.fill(word, place, place + end - from)
        for (let i = from; i < end; i++) this.places[place++] = idOfByte[bytes[i]!]!
        place++
      }
      from = end
    }
  }

  /** Positions run from 1 to this, exclusive. */
  get placeCount(): number {
    return this.places.length
  }

  /** The token that starts at the position, or a negative number. */
  tokenAt(place: number): number {
    return this.places[place]!
  }

  /** Count of the word at this position in the corpus. */
  countAt(place: number): number {
    return this.counts[this.wordOfPlace[place]!]!
  }

  /** Start of the token before this position; NOTHING at the start of a word. */
  previousPlace(place: number): number {
    const before = this.places[place - 1]!
    if (before === BOUNDARY) return NOTHING
    return before >= 0 ? place - 1 : place + before
  }

  /** Joins the two tokens that start at `place` and `place + leftBytes`. */
  join(place: number, leftBytes: number, bytes: number, id: number): void {
    this.places[place + leftBytes] = INSIDE
    this.places[place + bytes - 1] = -bytes
    this.places[place] = id
  }
}
