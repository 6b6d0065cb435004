/** The workers' side of the tokenizer that they are set up for: each loads it while it starts, all at once. */
import { workerData } from 'node:worker_threads'
import { type TokenBytes, tokenBytesFor } from '../formats/pbin.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { kernelModule } from './kernel-module.js'
import { openTokenizer, type TokenizerFile, tokenIdOf } from './tokenizer-file.js'
import type { TokenizerFacts, TokenizerSetup } from './tokenizer-setup.js'
import { workerFunction } from './worker-errors.js'

export interface WorkerTokenizer {
  readonly file: TokenizerFile
  readonly endOfDocumentId: number | undefined
  readonly padId: number | undefined
}

let opened: Promise<WorkerTokenizer> | undefined

/** In a worker: the tokenizer that it is set up for, on the kernel where that can run it. */
export function workerTokenizer(): Promise<WorkerTokenizer> {
  opened ??= open(workerData as TokenizerSetup)
  return opened
}

async function open(setup: TokenizerSetup): Promise<WorkerTokenizer> {
  const { tokenizerPath, specialTokens, endOfDocument, padToken } = setup
  const file = await openTokenizer(tokenizerPath, { wasm: kernelModule(), specialTokens })
  const idOf = (token: string | undefined): number | undefined => (token === undefined ? token : tokenIdOf(file, token))
  return { file, endOfDocumentId: idOf(endOfDocument), padId: idOf(padToken) }
}

/** In a worker, as its module is loaded: what is wrong with the tokenizer is told when someone asks for it. */
export async function loadTokenizerEarly(): Promise<void> {
  await workerTokenizer().catch(() => {})
}

/** In a worker, which exports it under this name. */
export const describeTokenizer = workerFunction(async (): Promise<TokenizerFacts> => {
  const { file, endOfDocumentId, padId } = await workerTokenizer()
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
