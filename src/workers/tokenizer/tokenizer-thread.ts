/**
 * A tokenizer in a separate thread. A tokenizer file is untrusted: it may contain a regular expression or a replacement
 * that never terminates, at load time or later. The caller's thread is not blocked, and a call without progress for
 * half a second, plus some time per MB, is terminated.
 */

import { WorkerDeath } from '../worker-function.js'
import { openWorkers, type Workers } from '../worker-pool.js'
import { terminatedError, tokenizerSetup } from './tokenizer-setup.js'
import type { DecodeTask, FileFacts } from './tokenizer-thread-worker.js'

/** Opens the tokenizer at a path, passes it to `ask`, and closes it. @throws the codes of `TokenizerThread.open` */
export async function askTokenizer<Answer>(
  path: string,
  ask: (tokenizer: TokenizerThread) => Answer | Promise<Answer>,
  specialTokens?: readonly string[],
): Promise<Answer> {
  const tokenizer = await TokenizerThread.open(path, specialTokens)
  try {
    return await ask(tokenizer)
  } finally {
    await tokenizer.close()
  }
}

/** Holds the thread until `close`. Every method can fail with WORKER_HUNG or WORKER_DIED. */
export class TokenizerThread {
  readonly path: string
  readonly sha256: string
  readonly vocabSize: number
  /** One more than the highest id, added tokens included. */
  readonly totalSize: number
  readonly facts: FileFacts
  private readonly workers: Workers

  private constructor(path: string, facts: FileFacts, workers: Workers) {
    this.path = path
    this.sha256 = facts.sha256
    this.vocabSize = facts.vocabSize
    this.totalSize = facts.totalSize
    this.facts = facts
    this.workers = workers
  }

  /**
   * @param specialTokens further special tokens, in addition to those in the file
   * @throws FILE_MISSING, TOKENIZER_INVALID, UNSUPPORTED; WORKER_HUNG, WORKER_DIED for a file that takes too long or too much memory to load
   */
  static async open(path: string, specialTokens: readonly string[] = []): Promise<TokenizerThread> {
    const setup = await tokenizerSetup(path, undefined, { specialTokens })
    const workers = openWorkers({ file: new URL('./tokenizer-thread-worker.js', import.meta.url), workers: 1, setup })
    try {
      const file = setup.tokenizerPath
      return new TokenizerThread(file, await ask(workers, file, 'describeFile'), workers)
    } catch (error) {
      await workers.close()
      throw error
    }
  }

  /** The ids of tokens; undefined for unknown ones. */
  idsOf(tokens: readonly string[]): Promise<(number | undefined)[]> {
    return ask(this.workers, this.path, 'idsOf', tokens)
  }

  /** The id of a token given by the user. @throws TOKENIZER_MISMATCH when the tokenizer does not have it */
  idOf(token: string): Promise<number> {
    return ask(this.workers, this.path, 'idOf', token)
  }

  /** Encodes a text to be continued: without the tokens that the template adds after a text, such as an end token. */
  encodePrompt(text: string): Promise<Uint32Array> {
    return ask(this.workers, this.path, 'encodePrompt', text)
  }

  async decode(ids: readonly number[]): Promise<string> {
    return (await this.decodeAll([ids]))[0]!
  }

  /** The text of each list of ids. */
  decodeAll(documents: DecodeTask['documents'], skipSpecialTokens = false): Promise<string[]> {
    return ask(this.workers, this.path, 'decode', { documents, skipSpecialTokens } satisfies DecodeTask)
  }

  close(): Promise<void> {
    return this.workers.close()
  }
}

async function ask<Answer>(workers: Workers, file: string, question: string, about?: unknown): Promise<Answer> {
  try {
    return await workers.run(question, about)
  } catch (error) {
    throw error instanceof WorkerDeath ? terminatedError(file, error) : error
  }
}
