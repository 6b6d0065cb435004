/**
 * Converts tokens back to text: the decoders of tokenizer files, each a function from pieces of text to new pieces.
 */
import { bytesOfToken } from '../engine/byte-level.js'
import type { FindMatches } from '../patterns/split-text.js'

export type DecoderStep = (pieces: readonly string[]) => readonly string[]

const encoder = new TextEncoder()
/** Invalid UTF-8 becomes U+FFFD, as in the Rust library. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

export function byteLevelDecoder(): DecoderStep {
  return pieces => [decoder.decode(concatenate(pieces.map(piece => bytesOfToken(piece) ?? encoder.encode(piece))))]
}

export function replaceDecoder(find: FindMatches, content: string): DecoderStep {
  return pieces =>
    pieces.map(piece => {
      const { starts, ends, isMatch } = find(piece)
      return starts.map((start, at) => (isMatch[at] ? content : piece.slice(start, ends[at]))).join('')
    })
}

/** The suffix becomes a space, except in the last piece. */
export function bpeDecoder(suffix: string): DecoderStep {
  return pieces => pieces.map((piece, at) => replaceIn(piece, suffix, at === pieces.length - 1 ? '' : ' '))
}

/** Pieces with the prefix continue the previous one; the others begin a word. */
export function wordPieceDecoder(prefix: string, hasCleanup: boolean): DecoderStep {
  return pieces =>
    pieces.map((piece, at) => {
      const joined = at === 0 ? piece : piece.startsWith(prefix) ? piece.slice(prefix.length) : ` ${piece}`
      return hasCleanup ? cleanup(joined) : joined
    })
}

/** Drops repetitions and padding. */
export function ctcDecoder(padToken: string, wordDelimiter: string, hasCleanup: boolean): DecoderStep {
  return pieces =>
    pieces
      .filter((piece, at) => at === 0 || piece !== pieces[at - 1])
      .map(piece => {
        const text = replaceIn(piece, padToken, '')
        return hasCleanup ? replaceIn(cleanup(text), wordDelimiter, ' ') : text
      })
      .filter(piece => piece !== '')
}

const CLEANUP: readonly (readonly [string, string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
]

/** Removes the spaces before punctuation and English contractions. */
function cleanup(text: string): string {
  return CLEANUP.reduce((current, [from, to]) => current.replaceAll(from, to), text)
}

/** An empty text occurs around every character. */
const replaceIn = (text: string, from: string, to: string): string =>
  from === '' ? text.replaceAll(/(?:)/gu, to) : text.replaceAll(from, () => to)

export function fuseDecoder(): DecoderStep {
  return pieces => [pieces.join('')]
}

/** Removes up to `left` and `right` copies of `content`, one character, from the ends of each piece. */
export function stripDecoder(content: string, left: number, right: number): DecoderStep {
  return pieces =>
    pieces.map(piece => {
      const characters = [...piece]
      let from = 0
      let to = characters.length
      while (from < left && characters[from] === content) from++
      while (characters.length - to < right && to > from && characters[to - 1] === content) to--
      return characters.slice(from, to).join('')
    })
}

/** Runs of `<0xNN>` become their text, or one U+FFFD per byte if they are not UTF-8. */
export function byteFallbackDecoder(): DecoderStep {
  return pieces => {
    const result: string[] = []
    let run: number[] = []
    const flush = (): void => {
      if (run.length > 0) result.push(...decodeRun(run))
      run = []
    }
    for (const piece of pieces) {
      const byte = /^<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>$/.exec(piece)
      if (byte !== null) {
        run.push(Number.parseInt(byte[1]!, 16))
        continue
      }
      flush()
      result.push(piece)
    }
    flush()
    return result
  }
}

function decodeRun(bytes: readonly number[]): string[] {
  try {
    return [new TextDecoder('utf-8', { ignoreBOM: true, fatal: true }).decode(Uint8Array.from(bytes))]
  } catch {
    return bytes.map(() => '\ufffd')
  }
}

/** The replacement character becomes a space; with `dropsFirst`, those of the first piece are removed. */
export function metaspaceDecoder(replacement: string, dropsFirst: boolean): DecoderStep {
  return pieces => pieces.map((piece, at) => piece.replaceAll(replacement, at === 0 && dropsFirst ? '' : ' '))
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
