/**
 * The byte alphabet of byte-level vocabularies: every byte as one printable character, the way GPT-2 wrote its files.
 */
import { unitsOf, type Vocabulary } from './vocabulary.js'

/** Character of each byte: printable Latin-1 stands for itself, the others take U+0100 and on, in order. */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters()

const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(BYTE_CHARACTERS.map((char, byte) => [char, byte]))

function byteCharacters(): string[] {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++))
}

/** The bytes that a token of a byte-level vocabulary stands for; `undefined` when it has a character outside the alphabet. */
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
  /** One more than there are words. */
  readonly offsets: Uint32Array
  readonly ids: Uint32Array
}

/** Packs the tokens that are spelled in the byte alphabet; the others, such as `<|endoftext|> ` with a space, are left out. */
export function packVocabulary(vocabulary: Vocabulary): PackedVocabulary {
  const byteOfUnit = new Int16Array(0x10000).fill(-1)
  for (const [byte, char] of BYTE_CHARACTERS.entries()) byteOfUnit[char.charCodeAt(0)] = byte
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
      const byte = byteOfUnit[tokens.units[i]!]!
      isSpelled = byte >= 0
      texts[at++] = byte
    }
    if (!isSpelled) continue
    ids[count++] = tokens.ids[number]!
    offsets[count] = at
    end = at
  }
  return { texts: texts.subarray(0, end), offsets: offsets.subarray(0, count + 1), ids: ids.subarray(0, count) }
}

export function tokenOfBytes(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let token = ''
  for (let i = start; i < end; i++) token += BYTE_CHARACTERS[bytes[i]!]
  return token
}
