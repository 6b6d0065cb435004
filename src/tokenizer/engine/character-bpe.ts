/** BPE over the characters of a piece, with prefixes, suffixes, byte fallback and unknown tokens as in the Rust library. */
import { type Merges, SymbolMerger } from './bpe.js'
import { type Model, missingUnknown } from './model.js'
import type { Vocabulary } from './vocabulary.js'

export interface CharacterBpeOptions {
  readonly unknownToken: string | undefined
  readonly continuingPrefix: string
  readonly endOfWordSuffix: string
  readonly fuseUnknown: boolean
  readonly hasByteFallback: boolean
  /** Whether a piece in the vocabulary is one token regardless of the merges. */
  readonly ignoresMerges: boolean
}

const encoder = new TextEncoder()

export class CharacterBpe extends SymbolMerger implements Model {
  private readonly vocabulary: Vocabulary
  private readonly options: CharacterBpeOptions
  private readonly unknownId: number | undefined
  private readonly byteIds: readonly (number | undefined)[]

  constructor(vocabulary: Vocabulary, merges: Merges, options: CharacterBpeOptions) {
    super(merges)
    this.vocabulary = vocabulary
    this.options = options
    this.unknownId = options.unknownToken === undefined ? undefined : vocabulary.get(options.unknownToken)
    this.byteIds = Array.from({ length: options.hasByteFallback ? 256 : 0 }, (_, byte) =>
      vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
    )
  }

  encode(text: string): readonly number[] {
    const whole = this.options.ignoresMerges ? this.vocabulary.get(text) : undefined
    if (whole !== undefined) return [whole]
    const count = this.mergeSymbols(this.readSymbols(text))
    return Array.from(this.ids.subarray(0, count))
  }

  /** Puts the symbols of the text into `ids`; returns their number. */
  private readSymbols(text: string): number {
    const { continuingPrefix, endOfWordSuffix, unknownToken, fuseUnknown } = this.options
    this.reserve(text, continuingPrefix, endOfWordSuffix)
    let count = 0
    // An unknown token is emitted at the next known character or the next unknown one, but after bytes in between.
    let isPending = false
    for (let at = 0; at < text.length; ) {
      const end = at + (text.codePointAt(at)! > 0xffff ? 2 : 1)
      const symbol =
        (at > 0 ? continuingPrefix : '') + text.slice(at, end) + (end === text.length ? endOfWordSuffix : '')
      at = end
      const id = this.vocabulary.get(symbol)
      if (id !== undefined) {
        if (isPending) this.ids[count++] = this.unknownId!
        isPending = false
        this.ids[count++] = id
        continue
      }
      const bytes = this.bytesOf(symbol)
      if (bytes !== undefined) {
        for (const byte of bytes) this.ids[count++] = byte
      } else if (unknownToken !== undefined) {
        if (this.unknownId === undefined) missingUnknown(unknownToken)
        if (isPending && !fuseUnknown) this.ids[count++] = this.unknownId
        isPending = true
      }
    }
    if (isPending) this.ids[count++] = this.unknownId!
    return count
  }

  private bytesOf(symbol: string): readonly number[] | undefined {
    if (!this.options.hasByteFallback) return undefined
    const ids: number[] = []
    for (const byte of encoder.encode(symbol)) {
      const id = this.byteIds[byte]
      if (id === undefined) return undefined
      ids.push(id)
    }
    return ids
  }

  private reserve(text: string, prefix: string, suffix: string): void {
    const needed = text.length * (3 + 3 * prefix.length) + 3 * suffix.length
    if (this.ids.length < needed) this.ids = new Uint32Array(needed * 2)
  }
}
