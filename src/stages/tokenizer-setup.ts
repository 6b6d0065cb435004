/**
 * The main thread's side of the tokenizer that workers are set up for: where its file is, and what they say about it, so
 * that this thread need not load one itself, and is not held up by a file that takes long or for ever.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PenstockError } from '../errors.js'
import type { TokenizerIdentity } from '../formats/batches.js'
import type { TokenBytes } from '../formats/pbin.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { leaveOutPoison } from './leave-out-poison.js'
import type { Workers } from './worker-pool.js'

const NAMES_IN_FOLDER = ['tokenizer.json', 'tokenizer.model']

/** What workers that tokenize are set up for. */
export interface TokenizerSetup {
  readonly tokenizerPath: string
  /** The state of the file: another one is another setup. */
  readonly tokenizerState: string
  readonly endOfDocument: string | undefined
  /** Tokens to be found in texts beside those of the file. */
  readonly specialTokens: readonly string[]
  /** What documents are filled with. */
  readonly padToken: string | undefined
}

/** In the main thread. @throws FILE_MISSING */
export async function tokenizerSetup(
  path: string,
  endOfDocument: string | undefined,
  { specialTokens = [], padToken }: Partial<Pick<TokenizerSetup, 'specialTokens' | 'padToken'>> = {},
): Promise<{ setup: TokenizerSetup; setupBytes: number }> {
  const tokenizerPath = await tokenizerFileAt(path)
  const { dev, ino, size, mtimeMs } = await stat(tokenizerPath)
  const tokenizerState = [dev, ino, size, mtimeMs].join()
  return { setup: { tokenizerPath, tokenizerState, endOfDocument, specialTokens, padToken }, setupBytes: size }
}

/** The file that a path or a folder stands for. @throws FILE_MISSING */
export async function tokenizerFileAt(path: string): Promise<string> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) throw new PenstockError('FILE_MISSING', 'no such tokenizer file or folder', { file: path })
  if (!stats.isDirectory()) return path
  for (const name of NAMES_IN_FOLDER) {
    const file = join(path, name)
    if ((await stat(file).catch(() => undefined))?.isFile()) return file
  }
  throw new PenstockError('FILE_MISSING', `the folder holds no ${NAMES_IN_FOLDER.join(' or ')}`, { file: path })
}

export interface TokenizerFacts {
  readonly identity: TokenizerIdentity
  readonly tokenBytes: TokenBytes
  readonly how: Tokenizer['how']
  readonly padId: number | undefined
}

/** In the main thread. @throws TOKENIZER_INVALID, TOKENIZER_MISMATCH; WORKER_HUNG for a file that takes too long */
export async function askForTokenizer(workers: Workers, { tokenizerPath }: TokenizerSetup): Promise<TokenizerFacts> {
  const ask = (): Promise<TokenizerFacts> => workers.run('describeTokenizer', undefined)
  return (await leaveOutPoison(ask, { file: tokenizerPath })).reply
}

/** One line for users whose tokenizer our own engines cannot follow exactly. */
export function slownessNote(how: Tokenizer['how']): string | undefined {
  return how.fast ? undefined : `tokenizing without the fast kernel: ${how.why}`
}
