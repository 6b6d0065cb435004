/** Loads a tokenizer from a tokenizer.json, or from the folder that holds one, with its identity. */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PenstockError, toPenstockError } from '../errors.js'
import { type LoadOptions, loadTokenizer, type Tokenizer } from '../tokenizer/index.js'

export interface TokenizerFile {
  readonly path: string
  readonly sha256: string
  readonly tokenizer: Tokenizer
}

/** @throws FILE_MISSING, TOKENIZER_INVALID */
export async function openTokenizer(path: string, options: LoadOptions = {}): Promise<TokenizerFile> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) throw new PenstockError('FILE_MISSING', 'no such tokenizer file or folder', { file: path })
  const file = stats.isDirectory() ? join(path, 'tokenizer.json') : path
  const bytes = await readFile(file).catch(error => {
    throw new PenstockError('FILE_MISSING', 'the folder holds no tokenizer.json', { file: path }, error)
  })
  try {
    const tokenizer = loadTokenizer(bytes.toString('utf8'), options)
    return { path: file, sha256: createHash('sha256').update(bytes).digest('hex'), tokenizer }
  } catch (error) {
    throw toPenstockError(error, 'TOKENIZER_INVALID', { file })
  }
}

/** The id of a token that the user named. @throws TOKENIZER_MISMATCH when the tokenizer has no such token */
export function tokenIdOf({ tokenizer, path }: TokenizerFile, token: string): number {
  const id = tokenizer.idOf(token)
  if (id !== undefined) return id
  throw new PenstockError('TOKENIZER_MISMATCH', `the tokenizer has no token ${JSON.stringify(token)}`, { file: path })
}
