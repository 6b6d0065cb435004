/**
 * The byte alphabet of byte-level vocabularies: every byte as one printable character, the way GPT-2 wrote its files.
 */

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

export function tokenOfBytes(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let token = ''
  for (let i = start; i < end; i++) token += BYTE_CHARACTERS[bytes[i]!]
  return token
}
