/**
 * Tokenizers inside workers, each loaded once, and what the main thread asks about them, so that it need not load one
 * itself.
 */
import type { Piscina } from 'piscina'
import type { TokenizerIdentity } from '../formats/batches.js'
import { type TokenBytes, tokenBytesFor } from '../formats/pbin.js'
import type { Tokenizer } from '../tokenizer/index.js'
import { kernelModule } from './kernel-module.js'
import { openTokenizer, type TokenizerFile, tokenIdOf } from './tokenizer-file.js'
import { receivedError, sendingErrors } from './worker-errors.js'

const tokenizers = new Map<string, Promise<TokenizerFile>>()

/** In a worker: the tokenizer of a path, on the kernel where that can run it. */
export function tokenizerAt(path: string, specialTokens: readonly string[] = []): Promise<TokenizerFile> {
  const key = JSON.stringify([path, ...specialTokens])
  let file = tokenizers.get(key)
  if (file === undefined) {
    file = openTokenizer(path, { wasm: kernelModule(), specialTokens })
    tokenizers.set(key, file)
  }
  return file
}

interface DescribeTask {
  readonly tokenizerPath: string
  readonly specialTokens?: readonly string[] | undefined
  readonly endOfDocument: string | undefined
  /** What documents are filled with. */
  readonly padToken?: string | undefined
}
interface TokenizerFacts {
  readonly identity: TokenizerIdentity
  /** What a token takes when the user does not say. */
  readonly tokenBytes: TokenBytes
  readonly how: Tokenizer['how']
  readonly padId: number | undefined
}

/** In a worker, which exports it under this name. */
export const describeTokenizer = sendingErrors(
  async ({ tokenizerPath, specialTokens, endOfDocument, padToken }: DescribeTask): Promise<TokenizerFacts> => {
    const file = await tokenizerAt(tokenizerPath, specialTokens)
    const { vocabSize, totalSize, how } = file.tokenizer
    const endOfDocumentId = endOfDocument === undefined ? undefined : tokenIdOf(file, endOfDocument)
    const identity = { sha256: file.sha256, vocabSize, endOfDocumentId }
    const padId = padToken === undefined ? undefined : tokenIdOf(file, padToken)
    return { identity, tokenBytes: tokenBytesFor(Math.max(vocabSize, totalSize)), how, padId }
  },
)

/** In the main thread. @throws FILE_MISSING, TOKENIZER_INVALID, TOKENIZER_MISMATCH */
export async function askForTokenizer(pool: Piscina, task: DescribeTask): Promise<TokenizerFacts> {
  try {
    return await pool.run(task, { name: 'describeTokenizer' })
  } catch (error) {
    throw receivedError(error, 'WORKER_FAILED', { file: task.tokenizerPath })
  }
}

/** One line for users whose tokenizer our own engines cannot follow exactly. */
export function slownessNote(how: Tokenizer['how']): string | undefined {
  return how.fast ? undefined : `tokenizing without the fast kernel: ${how.why}`
}
