/** Where the documents of samples start. */

/**
 * Place in its block at which the document of each token starts, for blocks [rows, block]; a document that began before
 * the block starts at 0.
 * @param endId the token that ends each document
 */
export function startsAfterToken(tokens: Int32Array, block: number, endId: number): Int32Array {
  const starts = new Int32Array(tokens.length)
  for (let first = 0; first < tokens.length; first += block) {
    for (let place = 1; place < block; place++) {
      const at = first + place
      starts[at] = tokens[at - 1] === endId ? place : starts[at - 1]!
    }
  }
  return starts
}
