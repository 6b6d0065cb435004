/**
 * The words of the corpus, each once, as the tokens that they consist of at the moment. One array of 32-bit numbers
 * holds them all, a place a byte: merging two tokens touches a few places, however long the word is.
 *
 * A token of n bytes has its id at its first place and, for n > 1, -n at its last, so that both neighbours are found in
 * one step. The places between hold INSIDE. Words are kept apart by BOUNDARY.
 */
import type { WordCountsData } from './word-counts.js'

const INSIDE = -1
const BOUNDARY = -(2 ** 31)
/** No token stands there. */
export const NOTHING = -1

export class Segments {
  private readonly places: Int32Array
  private readonly wordOfPlace: Int32Array
  private readonly counts: Float64Array

  /** Words of one byte have no pairs and are left out. */
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

  /** Places run from 1 to this, exclusive. */
  get placeCount(): number {
    return this.places.length
  }

  /** The token that starts at the place, or a negative number. */
  tokenAt(place: number): number {
    return this.places[place]!
  }

  /** How often the word at this place occurs in the corpus. */
  countAt(place: number): number {
    return this.counts[this.wordOfPlace[place]!]!
  }

  /** Where the token before this place starts; NOTHING at the start of a word. */
  previousPlace(place: number): number {
    const before = this.places[place - 1]!
    if (before === BOUNDARY) return NOTHING
    return before >= 0 ? place - 1 : place + before
  }

  /** Makes one token of the two that start at `place` and `place + leftBytes`. */
  join(place: number, leftBytes: number, bytes: number, id: number): void {
    this.places[place + leftBytes] = INSIDE
    this.places[place + bytes - 1] = -bytes
    this.places[place] = id
  }
}
