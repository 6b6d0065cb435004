/**
 * Splits a text into chunks of about a word that may be encoded by themselves, so that their tokens can be cached. The kernel
 * does the same in assembly/text/chunks.ts.
 */
import { codePointAt, type Splitter } from './pretokenize.js'

/** Bit of a cut that depends on the character before it. */
export const DEPENDS_ON_CHARACTER = 0x80

export interface ChunkRules {
  /**
   * A chunk may begin between two bytes that have a bit in common: `after` for the first byte, `before` for the second.
   * DEPENDS_ON_CHARACTER is in `after` for all bytes from 0x80 on, and in no other.
   */
  readonly after: Uint8Array
  readonly before: Uint8Array
  /** Whether a chunk may end with this character, if only DEPENDS_ON_CHARACTER is in common. */
  readonly mayEndWith: (codePoint: number) => boolean
  /** Whether the first or the last chunk of a text between added tokens differs from an equal one elsewhere. */
  readonly isFirstSpecial: boolean
  readonly isLastSpecial: boolean
}

/** Whether a chunk may begin at bytes[at]. */
function isCut({ after, before, mayEndWith }: ChunkRules, bytes: Uint8Array, at: number): boolean {
  const common = after[bytes[at - 1]!]! & before[bytes[at]!]!
  if (common !== DEPENDS_ON_CHARACTER) return common !== 0
  let first = at - 1
  while ((bytes[first]! & 0xc0) === 0x80) first--
  return mayEndWith(codePointAt(bytes, first))
}

/** End of the first chunk of bytes[start, end). */
export function firstChunkEnd(rules: ChunkRules, bytes: Uint8Array, start: number, end: number): number {
  for (let at = start + 1; at < end; at++) if (isCut(rules, bytes, at)) return at
  return end
}

/** Start of the last chunk of bytes[start, end). */
export function lastChunkStart(rules: ChunkRules, bytes: Uint8Array, start: number, end: number): number {
  for (let at = end - 1; at > start; at--) if (isCut(rules, bytes, at)) return at
  return start
}

export function chunkSplitter(rules: ChunkRules): Splitter {
  return (bytes, start, end, emit) => {
    for (let from = start; from < end; ) {
      const to = firstChunkEnd(rules, bytes, from, end)
      emit(from, to)
      from = to
    }
  }
}
