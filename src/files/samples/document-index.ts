/** Starts of the documents of a packed file, in memory: 8 bytes per document. */
import type { PackedFile } from '../packed-file.js'

export class DocumentIndex {
  /** First token of each document, ascending. */
  readonly #firsts: Float64Array

  private constructor(firsts: Float64Array) {
    this.#firsts = firsts
  }

  /** @throws FILE_UNREADABLE, PBIN_INVALID, PICKLE_INVALID */
  static async read(file: PackedFile): Promise<DocumentIndex> {
    let firsts = new Float64Array(1024)
    let count = 0
    for await (const documents of file.documents()) {
      for (let entry = 0; entry < documents.length; entry += 2) {
        if (count === firsts.length) firsts = grown(firsts)
        firsts[count++] = documents[entry]!
      }
    }
    // The index of a merged file need not be in the order of its tokens.
    return new DocumentIndex(firsts.slice(0, count).sort())
  }

  get count(): number {
    return this.#firsts.length
  }

  /** First token of a document, numbered from 0 in the order of the tokens. */
  firstOf(document: number): number {
    return this.#firsts[document]!
  }

  /** Fills in, for each of the tokens from `start` on, the place among them at which its document starts. */
  startsIn(start: number, starts: Int32Array): void {
    let next = this.#firstAfter(start)
    let current = 0
    for (let place = 0; place < starts.length; place++) {
      while (this.#firsts[next]! <= start + place) {
        current = place
        next++
      }
      starts[place] = current
    }
  }

  /** Number of the first document that starts after a token. */
  #firstAfter(token: number): number {
    let [low, high] = [0, this.#firsts.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#firsts[middle]! <= token) low = middle + 1
      else high = middle
    }
    return low
  }
}

function grown(values: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * values.length)
  larger.set(values)
  return larger
}
