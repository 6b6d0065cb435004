/**
 * Finds added tokens (`<|endoftext|>` and others) in text: they become their ids and are never merged with other text.
 * Leftmost match first, the longest among those; flags extend or reject a match as in the Rust library.
 */
import { codePointAt, sequenceLength } from '../patterns/pretokenize.js'
import { contains, unicodeClass } from '../patterns/unicode.js'

export interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
  /** Matches only if no letter, mark, digit or connector is adjacent. */
  readonly singleWord: boolean
  /** Includes the white space before it. */
  readonly leftStrip: boolean
  /** Includes the white space after it. */
  readonly rightStrip: boolean
  /** Searched for after normalization instead of before. */
  readonly normalized: boolean
}

/** Half-open range of an added token, or of text between them (`token` undefined). */
export interface Piece {
  readonly start: number
  readonly end: number
  readonly token: AddedToken | undefined
}

export class AddedTokenFinder {
  /** Candidates by first byte, longest first. */
  private readonly byFirstByte: (Candidate[] | undefined)[] = []
  readonly isEmpty: boolean

  constructor(tokens: readonly AddedToken[], contentOf: (token: AddedToken) => string = token => token.content) {
    const encoder = new TextEncoder()
    const candidates = tokens
      .map(token => ({ token, bytes: encoder.encode(contentOf(token)) }))
      .filter(candidate => candidate.bytes.length > 0)
      .sort((a, b) => b.bytes.length - a.bytes.length)
    this.isEmpty = candidates.length === 0
    for (const candidate of candidates) {
      const first = candidate.bytes[0]!
      const others = this.byFirstByte[first]
      if (others === undefined) this.byFirstByte[first] = [candidate]
      else others.push(candidate)
    }
  }

  /** Position of the first occurrence in bytes[start, end), ignoring flags, or -1: the cheap test before `split`. */
  firstIn(bytes: Uint8Array, start: number, end: number): number {
    if (this.isEmpty) return -1
    for (let at = start; at < end; at++) {
      if (this.byFirstByte[bytes[at]!] !== undefined && this.candidateAt(bytes, at, end) !== undefined) return at
    }
    return -1
  }

  /** The non-empty pieces of bytes[start, end) in order; white space that a token includes may occur again. */
  split(bytes: Uint8Array, start: number, end: number): Piece[] {
    const pieces: Piece[] = []
    let done = start
    for (let at = this.firstIn(bytes, start, end); at >= 0; ) {
      const { token, bytes: content } = this.candidateAt(bytes, at, end)!
      const stop = at + content.length
      if (!token.singleWord || standsAlone(bytes, start, end, at, stop)) {
        const from = token.leftStrip ? Math.max(done, spacesBefore(bytes, start, at)) : at
        const to = token.rightStrip ? spacesAfter(bytes, stop, end) : stop
        if (done < from) pieces.push({ start: done, end: from, token: undefined })
        // A token whose white space the previous one took is dropped.
        if (from < to) pieces.push({ start: from, end: to, token })
        done = to
      }
      // White space taken by the last token may itself be the next one.
      at = this.firstIn(bytes, stop, end)
    }
    if (done < end) pieces.push({ start: done, end, token: undefined })
    return pieces
  }

  private candidateAt(bytes: Uint8Array, at: number, end: number): Candidate | undefined {
    return this.byFirstByte[bytes[at]!]?.find(candidate => startsWith(bytes, at, end, candidate.bytes))
  }
}

interface Candidate {
  readonly token: AddedToken
  readonly bytes: Uint8Array
}

function startsWith(bytes: Uint8Array, at: number, end: number, content: Uint8Array): boolean {
  if (at + content.length > end) return false
  for (let i = 0; i < content.length; i++) if (bytes[at + i] !== content[i]) return false
  return true
}

function standsAlone(bytes: Uint8Array, start: number, end: number, from: number, to: number): boolean {
  const touchesBefore = from > start && isWord(codePointAt(bytes, previousCharacter(bytes, from)))
  const touchesAfter = to < end && isWord(codePointAt(bytes, to))
  return !touchesBefore && !touchesAfter
}

function isWord(codePoint: number): boolean {
  return contains(unicodeClass('RustWord')!, codePoint)
}

function previousCharacter(bytes: Uint8Array, at: number): number {
  let previous = at - 1
  while ((bytes[previous]! & 0xc0) === 0x80) previous--
  return previous
}

function spacesBefore(bytes: Uint8Array, start: number, at: number): number {
  const spaces = unicodeClass('White_Space')!
  let from = at
  while (from > start) {
    const previous = previousCharacter(bytes, from)
    if (!contains(spaces, codePointAt(bytes, previous))) break
    from = previous
  }
  return from
}

function spacesAfter(bytes: Uint8Array, at: number, end: number): number {
  const spaces = unicodeClass('White_Space')!
  let to = at
  while (to < end && contains(spaces, codePointAt(bytes, to))) to += sequenceLength(bytes[to]!)
  return to
}
