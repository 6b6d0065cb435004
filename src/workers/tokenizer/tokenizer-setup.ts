/**
 * The main thread's side of the tokenizer that workers are set up for: where its file is, and what they say about it, so
 * that this thread need not load one itself, and is not held up by a file that takes long or for ever.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PenstockError } from '../../errors.js'
import type { TokenizerIdentity } from '../../formats/batches.js'
import type { TokenBytes } from '../../formats/pbin.js'
import type { EngineInfo } from '../../tokenizer/tokenizer.js'
import { runWithoutPoison } from '../poison-records.js'
import { WorkerDeath } from '../worker-function.js'
import type { Workers } from '../worker-pool.js'

const NAMES_IN_FOLDER = ['tokenizer.json', 'tokenizer.model']

/** What workers that tokenize are set up for. */
export interface TokenizerSetup {
  readonly tokenizerPath: string
  /** The state of the file: another one is another setup. */
  readonly tokenizerState: string
  readonly tokenizerBytes: number
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
): Promise<TokenizerSetup> {
  const tokenizerPath = await tokenizerFileAt(path)
  const { dev, ino, size, mtimeMs } = await stat(tokenizerPath)
  const tokenizerState = [dev, ino, size, mtimeMs].join()
  return { tokenizerPath, tokenizerState, tokenizerBytes: size, endOfDocument, specialTokens, padToken }
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
  readonly engineInfo: EngineInfo
  readonly padId: number | undefined
}

/** What the workers of a pool said; none is asked twice. */
const answers = new WeakMap<object, Promise<TokenizerFacts>>()

/**
 * In the main thread: has each worker load the tokenizer, and tells what the first says about it.
 *
 * @throws TOKENIZER_INVALID, TOKENIZER_MISMATCH; WORKER_HUNG for a file that takes too long
 */
export function askForTokenizer(workers: Workers, setup: TokenizerSetup): Promise<TokenizerFacts> {
  const { threads } = workers
  const known = answers.get(threads)
  if (known !== undefined) return known
  const answer = ask(workers, setup)
  answers.set(threads, answer)
  answer.catch(() => answers.delete(threads))
  return answer
}

async function ask(workers: Workers, { tokenizerPath }: TokenizerSetup): Promise<TokenizerFacts> {
  const describe = async (): Promise<TokenizerFacts> => {
    try {
      return await workers.run('describeTokenizer', undefined)
    } catch (error) {
      // Another worker would take as long for the same file.
      throw error instanceof WorkerDeath && error.code === 'WORKER_HUNG' ? stoppedAt(tokenizerPath, error) : error
    }
  }
  // Each worker loads its own meanwhile; what is wrong with it is told to the first, or with its first batch.
  for (let other = 1; other < workers.size; other++) describe().catch(() => {})
  return (await runWithoutPoison(describe, { file: tokenizerPath })).reply
}

/** What a user is told of a worker that a tokenizer file was too much for. */
export function stoppedAt(file: string, death: WorkerDeath): PenstockError {
  return new PenstockError(death.code, `the tokenizer was stopped: ${death.message}`, { file }, death)
}

/** One line for users whose tokenizer our own engines cannot follow exactly. */
export function slownessNote(engineInfo: EngineInfo): string | undefined {
  return engineInfo.fast ? undefined : `tokenizing without the fast kernel: ${engineInfo.why}`
}
