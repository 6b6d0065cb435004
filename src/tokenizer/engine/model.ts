/** Models of a tokenizer.json: each turns a piece of pre-tokenized text into ids. */
import { PenstockError } from '../../errors.js'
import { type ByteTrie, buildByteTrie, childOf, IS_END, NODE_MASK } from './byte-trie.js'
import type { Vocabulary } from './vocabulary.js'

export interface Model {
  /** @throws TOKENIZER_INVALID for text that needs a missing unknown token */
  encode(text: string): readonly number[]
}

export function missingUnknown(token: string | undefined): never {
  const name = token === undefined ? 'no unknown token' : `no token ${JSON.stringify(token)}`
  throw new PenstockError('TOKENIZER_INVALID', `the vocabulary has ${name}, which this text needs`)
}

/** WordLevel: each piece is a token or unknown. */
export function wordLevel(vocabulary: Vocabulary, unknownToken: string): Model {
  const unknownId = vocabulary.get(unknownToken)
  return { encode: text => [vocabulary.get(text) ?? unknownId ?? missingUnknown(unknownToken)] }
}

export interface WordPieceOptions {
  readonly unknownToken: string
  readonly continuingPrefix: string
  readonly maxCharacters: number
}

/** WordPiece: repeatedly the longest token at the start of the rest; the whole piece is unknown if there is none. */
export function wordPiece(vocabulary: Vocabulary, options: WordPieceOptions): Model {
  const { unknownToken, continuingPrefix, maxCharacters } = options
  const unknownId = vocabulary.get(unknownToken)
  const [first, following] = [new Map<string, number>(), new Map<string, number>()]
  for (const [token, id] of vocabulary) {
    first.set(token, id)
    if (token.startsWith(continuingPrefix)) following.set(token.slice(continuingPrefix.length), id)
  }
  const tries = { first: buildByteTrie(first), following: buildByteTrie(following) }
  return {
    encode(text) {
      const isTooLong = text.length > maxCharacters && [...text].length > maxCharacters
      const ids = isTooLong ? undefined : longestPieces(encoder.encode(text), tries.first, tries.following)
      return ids ?? [unknownId ?? missingUnknown(unknownToken)]
    },
  }
}

const encoder = new TextEncoder()

/** `undefined` if no piece is at the start of some rest. */
function longestPieces(text: Uint8Array, first: ByteTrie, following: ByteTrie): number[] | undefined {
  const ids: number[] = []
  for (let start = 0; start < text.length; ) {
    const trie = start === 0 ? first : following
    let id = -1
    let node = 0
    let stop = start
    for (let at = start; at < text.length; ) {
      const child = childOf(trie, node, text[at++]!)
      if (child === 0) break
      node = child & NODE_MASK
      if (child < IS_END) continue
      id = trie.ends[node]!
      stop = at
    }
    if (id < 0) return undefined
    ids.push(id)
    start = stop
  }
  return ids
}
