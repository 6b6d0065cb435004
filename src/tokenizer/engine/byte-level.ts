/**
 * The byte alphabet of byte-level vocabularies: every byte as one printable character, as in GPT-2's files.
 */
import { unitsOf, type Vocabulary } from './vocabulary.js'

/** Character of each byte: printable Latin-1 maps to itself, the others to U+0100 and up, in order. */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters()

const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(BYTE_CHARACTERS.map((char, byte) => [char, byte]))

function byteCharacters(): string[] {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++))
}

/** Bytes of a token of a byte-level vocabulary; `undefined` if it has a character outside the alphabet. */
export function bytesOfToken(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF_CHARACTER.get(token[i]!)
    if (byte === undefined) return undefined
    bytes[i] = byte
  }
  return bytes
}

/** The words of a byte-level vocabulary as bytes: word i is texts[offsets[i], offsets[i + 1]) and has the id ids[i]. */
export interface PackedVocabulary {
  readonly texts: Uint8Array
  /** One more than the number of words. */
  readonly offsets: Uint32Array
  readonly ids: Uint32Array
  /** One bit per pair of bytes (index: first | second << 8): whether some word contains them next to each other. */
  readonly innerPairs: Uint8Array
}

/** No such byte. */
export const NO_BYTE = 0xffff

/** The byte of each code unit of the alphabet, and NO_BYTE for other units below its end. */
export function bytesOfUnits(): Uint16Array {
  const bytes = new Uint16Array(0x144).fill(NO_BYTE)
  for (const [byte, char] of BYTE_CHARACTERS.entries()) bytes[char.charCodeAt(0)] = byte
  return bytes
}

/** For models that are not byte-level. */
export const NO_WORDS: PackedVocabulary = {
  texts: new Uint8Array(0),
  offsets: new Uint32Array(1),
  ids: new Uint32Array(0),
  innerPairs: new Uint8Array(8192),
}

/** Packs the tokens spelled in the byte alphabet and skips the others, such as `<|endoftext|> ` with a space. */
export function packVocabulary(vocabulary: Vocabulary): PackedVocabulary {
  const byteOfUnit = bytesOfUnits()
  const innerPairs = new Uint8Array(8192)
  const tokens = unitsOf(vocabulary)
  const texts = new Uint8Array(tokens.units.length)
  const offsets = new Uint32Array(tokens.offsets.length)
  const ids = new Uint32Array(tokens.ids.length)
  let count = 0
  let end = 0
  for (let number = 0; number < ids.length; number++) {
    let at = end
    let isSpelled = true
    for (let i = tokens.offsets[number]!; i < tokens.offsets[number + 1]! && isSpelled; i++) {
      const byte = byteOfUnit[tokens.units[i]!] ?? NO_BYTE
      isSpelled = byte !== NO_BYTE
      texts[at++] = byte
    }
    if (!isSpelled) continue
    ids[count++] = tokens.ids[number]!
    offsets[count] = at
    for (end++; end < at; end++) {
      const pair = texts[end - 1]! | (texts[end]! << 8)
      innerPairs[pair >> 3]! |= 1 << (pair & 7)
    }
    end = at
  }
  return {
    texts: texts.subarray(0, end),
    offsets: offsets.subarray(0, count + 1),
    ids: ids.subarray(0, count),
    innerPairs,
  }
}

export function tokenOfBytes(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let token = ''
  for (let i = start; i < end; i++) token += BYTE_CHARACTERS[bytes[i]!]
  return token
}
