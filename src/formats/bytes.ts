/** Concatenates byte arrays. */
export function concatBytes(pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0))
  let position = 0
  for (const piece of pieces) {
    joined.set(piece, position)
    position += piece.byteLength
  }
  return joined
}
