/**
 * Unigram segmentation as in SentencePiece: the sequence of pieces with the highest total score, found by dynamic
 * programming from left to right. Sums are 32-bit floats, as there, so that ties are resolved alike.
 */

export interface UnigramPieces {
  readonly pieces: ReadonlyMap<string, { readonly id: number; readonly score: number }>
  readonly unknownId: number
  /** Score of a character without a piece. */
  readonly unknownScore: number
  /** Tokens for the bytes of such a character, if the model has any. */
  readonly byteIds: Uint32Array | undefined
}

export class UnigramSegmenter {
  ids = new Uint32Array(256)
  private readonly table: UnigramPieces
  private readonly longest: number
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  private readonly encoder = new TextEncoder()

  constructor(table: UnigramPieces) {
    this.table = table
    this.longest = Math.max(1, ...[...table.pieces.keys()].map(piece => [...piece].length))
  }

  /** Segments the word bytes[start, end) into `ids`; returns the number of tokens. */
  encodeWord(bytes: Uint8Array, start: number, end: number): number {
    if (this.ids.length < end - start) this.ids = new Uint32Array((end - start) * 2)
    const characters = [...this.decoder.decode(bytes.subarray(start, end))]
    const from = this.bestPath(characters)
    const cuts: number[] = []
    for (let at = characters.length; at > 0; at = from[at]!) cuts.push(at)
    let count = 0
    let isAfterUnknown = false
    let at = 0
    for (const next of cuts.reverse()) {
      const piece = characters.slice(at, next).join('')
      const id = this.table.pieces.get(piece)?.id
      if (id !== undefined) this.ids[count++] = id
      else if (this.table.byteIds !== undefined) {
        for (const byte of this.encoder.encode(piece)) this.ids[count++] = this.table.byteIds[byte]!
      } else if (!isAfterUnknown) this.ids[count++] = this.table.unknownId
      isAfterUnknown = id === undefined
      at = next
    }
    return count
  }

  /** Start of the last piece of the best path to each position. */
  private bestPath(characters: readonly string[]): Int32Array {
    const { pieces, unknownScore } = this.table
    const from = new Int32Array(characters.length + 1).fill(-1)
    const best = new Float32Array(characters.length + 1)
    const offer = (start: number, end: number, score: number): void => {
      const sum = Math.fround(best[start]! + Math.fround(score))
      if (from[end]! >= 0 && sum <= best[end]!) return
      best[end] = sum
      from[end] = start
    }
    for (let start = 0; start < characters.length; start++) {
      let piece = ''
      for (let end = start + 1; end <= Math.min(start + this.longest, characters.length); end++) {
        piece += characters[end - 1]
        const known = pieces.get(piece)
        if (known !== undefined) offer(start, end, known.score)
      }
      if (!pieces.has(characters[start]!)) offer(start, start + 1, unknownScore)
    }
    return from
  }
}
