/**
 * Converts tokens back to text: the decoders of tokenizer files, each a function from pieces of text to new pieces.
 */
import { bytesOfToken } from '../engine/byte-level.js'

export type DecoderStep = (pieces: readonly string[]) => readonly string[]

const encoder = new TextEncoder()
/** Invalid UTF-8 becomes U+FFFD, as in the Rust library. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

export function byteLevelDecoder(): DecoderStep {
  return pieces => [decoder.decode(concatenate(pieces.map(piece => bytesOfToken(piece) ?? encoder.encode(piece))))]
}

export function replaceDecoder(from: string, to: string): DecoderStep {
  return pieces => pieces.map(piece => piece.replaceAll(from, to))
}

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
      if (run.length > 0) result.push(decodeRun(run))
      run = []
    }
    for (const piece of pieces) {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece)
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

function decodeRun(bytes: readonly number[]): string {
  try {
    return new TextDecoder('utf-8', { ignoreBOM: true, fatal: true }).decode(Uint8Array.from(bytes))
  } catch {
    return '\ufffd'.repeat(bytes.length)
  }
}

/** The replacement character becomes a space, except the one added before the first word. */
export function metaspaceDecoder(replacement: string, dropsFirst: boolean): DecoderStep {
  return pieces =>
    pieces.map((piece, index) => {
      const spaced = piece.replaceAll(replacement, ' ')
      return index === 0 && dropsFirst && piece.startsWith(replacement) ? spaced.slice(1) : spaced
    })
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
