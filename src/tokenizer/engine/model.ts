/** Models of a tokenizer.json: each turns a piece of pre-tokenized text into ids. */
import { PenstockError } from '../../errors.js'
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
  let longest = 0
  for (const token of vocabulary.keys()) longest = Math.max(longest, token.length)

  const pieceAt = (text: string, start: number): { end: number; id: number } | undefined => {
    const prefix = start > 0 ? continuingPrefix : ''
    for (let end = Math.min(text.length, start + longest); end > start; end--) {
      const id = vocabulary.get(prefix + text.slice(start, end))
      if (id !== undefined) return { end, id }
    }
    return undefined
  }
  return {
    encode(text) {
      const ids: number[] = []
      const isTooLong = text.length > maxCharacters && [...text].length > maxCharacters
      for (let start = 0; start < text.length && !isTooLong; ) {
        const piece = pieceAt(text, start)
        if (piece === undefined) return [unknownId ?? missingUnknown(unknownToken)]
        ids.push(piece.id)
        start = piece.end
      }
      return isTooLong ? [unknownId ?? missingUnknown(unknownToken)] : ids
    },
  }
}
