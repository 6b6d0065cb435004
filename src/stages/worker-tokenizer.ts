/**
 * The tokenizer that workers are set up for: each loads it while it starts, all at once. The main thread asks them about
 * it, so that it need not load one itself, and is not held up by a file that takes long or for ever.
 */
import { stat } from 'node:fs/promises'
import { workerData } from 'node:worker_threads'
import type { TokenizerIdentity } from '../formats/batches.js'
import { type TokenBytes, tokenBytesFor } from '../formats/pbin.js'
import type { Tokenizer } from '../tokenizer/index.js'
import { kernelModule } from './kernel-module.js'
import { leaveOutPoison } from './leave-out-poison.js'
import { openTokenizer, type TokenizerFile, tokenIdOf, tokenizerFileAt } from './tokenizer-file.js'
import { workerFunction } from './worker-errors.js'
import type { Workers } from './worker-pool.js'

/** What workers that tokenize are set up for. */
export interface TokenizerSetup {
  readonly tokenizerPath: string
  /** The state of the file: another one is another setup. */
  readonly tokenizerState: string
  readonly endOfDocument: string | undefined
}

/** In the main thread. @throws FILE_MISSING */
export async function tokenizerSetup(
  path: string,
  endOfDocument: string | undefined,
): Promise<{ setup: TokenizerSetup; setupBytes: number }> {
  const tokenizerPath = await tokenizerFileAt(path)
  const { dev, ino, size, mtimeMs } = await stat(tokenizerPath)
  const tokenizerState = [dev, ino, size, mtimeMs].join()
  return { setup: { tokenizerPath, tokenizerState, endOfDocument }, setupBytes: size }
}

interface TokenizerFacts {
  readonly identity: TokenizerIdentity
  readonly tokenBytes: TokenBytes
  readonly how: Tokenizer['how']
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

export interface WorkerTokenizer {
  readonly file: TokenizerFile
  readonly endOfDocumentId: number | undefined
}

let opened: Promise<WorkerTokenizer> | undefined

/** In a worker: the tokenizer that it is set up for, on the kernel where that can run it. */
export function workerTokenizer(): Promise<WorkerTokenizer> {
  opened ??= open(workerData as TokenizerSetup)
  return opened
}

async function open({ tokenizerPath, endOfDocument }: TokenizerSetup): Promise<WorkerTokenizer> {
  const file = await openTokenizer(tokenizerPath, { wasm: kernelModule() })
  return { file, endOfDocumentId: endOfDocument === undefined ? undefined : tokenIdOf(file, endOfDocument) }
}

/** In a worker, as its module is loaded: what is wrong with the tokenizer is told when someone asks for it. */
export async function loadTokenizerEarly(): Promise<void> {
  await workerTokenizer().catch(() => {})
}

/** In a worker, which exports it under this name. */
export const describeTokenizer = workerFunction(async (): Promise<TokenizerFacts> => {
  const { file, endOfDocumentId } = await workerTokenizer()
  const { vocabSize, how } = file.tokenizer
  return {
    identity: { sha256: file.sha256, vocabSize, endOfDocumentId },
    tokenBytes: tokenBytesOf(file.tokenizer),
    how,
  }
})

/** What a token takes when the user does not say. */
export function tokenBytesOf({ vocabSize, totalSize }: Tokenizer): TokenBytes {
  return tokenBytesFor(Math.max(vocabSize, totalSize))
}
