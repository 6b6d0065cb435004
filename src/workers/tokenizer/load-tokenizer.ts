/** Loads a tokenizer and its checksum from a file or from a folder that contains one. */
import { createHash } from 'node:crypto'
import { PenstockError, toPenstockError } from '../../errors.js'
import { readWhole } from '../../files/read-at.js'
import type { TokenizerReference } from '../../formats/batches.js'
import { withSpecialTokens } from '../../tokenizer/file/special-tokens.js'
import { parsedSource } from '../../tokenizer/file/tokenizer-json.js'
import { type LoadOptions, loadSentencePiece, loadTokenizer, type Tokenizer } from '../../tokenizer/index.js'
import { tokenizerFileAt } from './tokenizer-setup.js'

export interface TokenizerFile {
  readonly path: string
  readonly sha256: string
  readonly tokenizer: Tokenizer
}

interface OpenTokenizerOptions extends LoadOptions {
  /** Further special tokens to recognize in texts, in addition to those in the file. */
  readonly specialTokens?: readonly string[] | undefined
}

/**
 * Opens a tokenizer.json or a SentencePiece .model.
 * @throws FILE_MISSING, TOKENIZER_INVALID, UNSUPPORTED
 */
export async function openTokenizer(path: string, options: OpenTokenizerOptions = {}): Promise<TokenizerFile> {
  const file = await tokenizerFileAt(path)
  const bytes = await readWhole(file)
  try {
    const tokenizer = file.endsWith('.model')
      ? loadSentencePiece(bytes)
      : loadTokenizer(sourceWithTokens(bytes, options.specialTokens), options)
    return { path: file, sha256: sha256Of(bytes), tokenizer }
  } catch (error) {
    throw toPenstockError(error, 'TOKENIZER_INVALID', { file })
  }
}

/** Path and checksum of a tokenizer, without loading it. @throws FILE_MISSING */
export async function tokenizerReference(path: string): Promise<TokenizerReference> {
  const file = await tokenizerFileAt(path)
  return { path: file, sha256: sha256Of(await readWhole(file)) }
}

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

function sourceWithTokens(json: Uint8Array, tokens: readonly string[] = []): Uint8Array | object {
  if (tokens.length === 0) return json
  return withSpecialTokens(parsedSource(json), tokens)
}

/** The id of a token given by the user. @throws TOKENIZER_MISMATCH when the tokenizer does not have it */
export function tokenIdOf({ tokenizer, path }: TokenizerFile, token: string): number {
  const id = tokenizer.idOf(token)
  if (id !== undefined) return id
  throw new PenstockError('TOKENIZER_MISMATCH', `the tokenizer has no token ${JSON.stringify(token)}`, { file: path })
}
