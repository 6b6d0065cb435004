/** Worker side of the tokenizer: each worker loads the tokenizer of its setup on first use. */
import { workerData } from 'node:worker_threads'
import { tokenBytesOf } from '../../formats/pbin.js'
import { type Heartbeat, WHOLE_TASK } from '../heartbeat.js'
import { workerFunction } from '../worker-function.js'
import { kernelModule } from './kernel-module.js'
import { openTokenizer, type TokenizerFile, tokenIdOf } from './load-tokenizer.js'
import type { TokenizerFacts, TokenizerSetup } from './tokenizer-setup.js'

/** Loading runs at 10 MB/s or more, this many times faster than the slowest engine encodes. */
const LOADING_SPEED = 4

export interface WorkerTokenizer {
  readonly file: TokenizerFile
  readonly endOfDocumentId: number | undefined
  readonly padId: number | undefined
}

let opened: Promise<WorkerTokenizer> | undefined

/**
 * Called in a worker: the tokenizer of its setup, with the kernel if supported. It is loaded by the first task and not
 * when the thread starts, so that loading has its own timeout and a replaced thread does not hang on it again.
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
  const { tokenizerPath, specialTokens, endOfDocument, padToken, cacheBytes } = setup
  const file = await openTokenizer(tokenizerPath, { wasm: kernelModule(), specialTokens, cacheBytes })
  const idOf = (token: string | undefined): number | undefined => (token === undefined ? token : tokenIdOf(file, token))
  return { file, endOfDocumentId: idOf(endOfDocument), padId: idOf(padToken) }
}

/** Exported under this name by every worker module that tokenizes. */
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
