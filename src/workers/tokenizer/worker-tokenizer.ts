/** The workers' side of the tokenizer that they are set up for: each loads it as it is first asked, all at once. */
import { workerData } from 'node:worker_threads'
import { type TokenBytes, tokenBytesFor } from '../../formats/pbin.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import { type Heartbeat, WHOLE_TASK } from '../heartbeat.js'
import { workerFunction } from '../worker-function.js'
import { kernelModule } from './kernel-module.js'
import { openTokenizer, type TokenizerFile, tokenIdOf } from './load-tokenizer.js'
import type { TokenizerFacts, TokenizerSetup } from './tokenizer-setup.js'

/** Files load at 10 MB/s and more, so many times as fast as the slowest engine encodes texts. */
const LOADING_SPEED = 4

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
export function workerTokenizer(heartbeat: Heartbeat): Promise<WorkerTokenizer> {
  if (opened === undefined) {
    const setup = workerData as TokenizerSetup
    heartbeat.begin(WHOLE_TASK, Math.ceil(setup.tokenizerBytes / LOADING_SPEED))
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
export const describeTokenizer = workerFunction(async (_: undefined, heartbeat): Promise<TokenizerFacts> => {
  const { file, endOfDocumentId, padId } = await workerTokenizer(heartbeat)
  const { vocabSize, engineInfo } = file.tokenizer
  return {
    identity: { sha256: file.sha256, vocabSize, endOfDocumentId },
    tokenBytes: tokenBytesOf(file.tokenizer),
    engineInfo,
    padId,
  }
})

/** What a token takes when the user does not say. */
export function tokenBytesOf({ vocabSize, totalSize }: Tokenizer): TokenBytes {
  return tokenBytesFor(Math.max(vocabSize, totalSize))
}
