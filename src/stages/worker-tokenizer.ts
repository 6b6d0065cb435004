/**
 * The tokenizer that workers are set up for: each loads it as it is first asked, all at once. The main thread asks them about
 * it, so that it need not load one itself, and is not held up by a file that takes long or for ever.
 */
import { stat } from 'node:fs/promises'
import { workerData } from 'node:worker_threads'
import { PenstockError } from '../errors.js'
import type { TokenizerIdentity } from '../formats/batches.js'
import { type TokenBytes, tokenBytesFor } from '../formats/pbin.js'
import type { Tokenizer } from '../tokenizer/index.js'
import { type Beacon, WHOLE } from './beacon.js'
import { kernelModule } from './kernel-module.js'
import { leaveOutPoison } from './leave-out-poison.js'
import { openTokenizer, type TokenizerFile, tokenIdOf, tokenizerFileAt } from './tokenizer-file.js'
import { WorkerDeath, workerFunction } from './worker-errors.js'
import type { Workers } from './worker-pool.js'

/** Files load at 10 MB/s and more, so many times as fast as the slowest engine encodes texts. */
const LOADING_SPEED = 4

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

interface TokenizerFacts {
  readonly identity: TokenizerIdentity
  readonly tokenBytes: TokenBytes
  readonly how: Tokenizer['how']
  readonly padId: number | undefined
}

/** In the main thread. @throws TOKENIZER_INVALID, TOKENIZER_MISMATCH; WORKER_HUNG for a file that takes too long */
export async function askForTokenizer(workers: Workers, { tokenizerPath }: TokenizerSetup): Promise<TokenizerFacts> {
  const ask = async (): Promise<TokenizerFacts> => {
    try {
      return await workers.run('describeTokenizer', undefined)
    } catch (error) {
      // Another worker would take as long for the same file.
      throw error instanceof WorkerDeath && error.code === 'WORKER_HUNG' ? stoppedAt(tokenizerPath, error) : error
    }
  }
  // Each worker loads its own meanwhile; what is wrong with it is told to the first, or with its first batch.
  for (let other = 1; other < workers.size; other++) ask().catch(() => {})
  return (await leaveOutPoison(ask, { file: tokenizerPath })).reply
}

/** What a user is told of a worker that a tokenizer file was too much for. */
export function stoppedAt(file: string, death: WorkerDeath): PenstockError {
  return new PenstockError(death.code, `the tokenizer was stopped: ${death.message}`, { file }, death)
}

/** One line for users whose tokenizer our own engines cannot follow exactly. */
export function slownessNote(how: Tokenizer['how']): string | undefined {
  return how.fast ? undefined : `tokenizing without the fast kernel: ${how.why}`
}

export interface WorkerTokenizer {
  readonly file: TokenizerFile
  readonly endOfDocumentId: number | undefined
  readonly padId: number | undefined
}

let opened: Promise<WorkerTokenizer> | undefined

/**
 * In a worker: the tokenizer that it is set up for, on the kernel where that can run it. It is loaded by the first task
 * and not as the thread starts, so that it has its own time, and a thread that is replaced does not hang of it again.
 */
export function workerTokenizer(beacon: Beacon): Promise<WorkerTokenizer> {
  if (opened === undefined) {
    const setup = workerData as TokenizerSetup
    beacon.begin(WHOLE, Math.ceil(setup.tokenizerBytes / LOADING_SPEED))
    opened = open(setup)
  }
  return opened
}

async function open(setup: TokenizerSetup): Promise<WorkerTokenizer> {
  const { tokenizerPath, specialTokens, endOfDocument, padToken } = setup
  const file = await openTokenizer(tokenizerPath, { wasm: kernelModule(), specialTokens })
  const idOf = (token: string | undefined): number | undefined => (token === undefined ? token : tokenIdOf(file, token))
  return { file, endOfDocumentId: idOf(endOfDocument), padId: idOf(padToken) }
}

/** In a worker, which exports it under this name. */
export const describeTokenizer = workerFunction(async (_: undefined, beacon): Promise<TokenizerFacts> => {
  const { file, endOfDocumentId, padId } = await workerTokenizer(beacon)
  const { vocabSize, how } = file.tokenizer
  return {
    identity: { sha256: file.sha256, vocabSize, endOfDocumentId },
    tokenBytes: tokenBytesOf(file.tokenizer),
    how,
    padId,
  }
})

/** What a token takes when the user does not say. */
export function tokenBytesOf({ vocabSize, totalSize }: Tokenizer): TokenBytes {
  return tokenBytesFor(Math.max(vocabSize, totalSize))
}
