/**
 * A tokenizer in a thread of its own, for whoever needs one beside a stream: a tokenizer file is foreign, and may hold a
 * regular expression or a replacement that takes for ever, as it is loaded or later. The thread of the caller stays free,
 * and what makes no progress for half a second, and some more for each MB, is stopped.
 */

import { WorkerDeath } from '../worker-function.js'
import { openWorkers, type Workers } from '../worker-pool.js'
import { stoppedAt, tokenizerSetup } from './tokenizer-setup.js'
import type { DecodeTask, FileFacts } from './tokenizer-thread-worker.js'

/** Opens the tokenizer at a path, asks it, and closes it. @throws what `TokenizerThread.open` throws */
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

/** Owns its use of the thread until `close`. Every question can end with WORKER_HUNG or WORKER_DIED. */
export class TokenizerThread {
  readonly path: string
  readonly sha256: string
  readonly vocabSize: number
  /** One more than the highest id, added tokens included. */
  readonly totalSize: number
  private readonly workers: Workers

  private constructor(path: string, facts: FileFacts, workers: Workers) {
    this.path = path
    this.sha256 = facts.sha256
    this.vocabSize = facts.vocabSize
    this.totalSize = facts.totalSize
    this.workers = workers
  }

  /**
   * @param specialTokens tokens to be found as a whole in texts, beside those that the file lists
   * @throws FILE_MISSING, TOKENIZER_INVALID, UNSUPPORTED; WORKER_HUNG, WORKER_DIED for a file that cannot be loaded in time or memory
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

  /** The ids of tokens, undefined for those that it has not. */
  idsOf(tokens: readonly string[]): Promise<(number | undefined)[]> {
    return ask(this.workers, this.path, 'idsOf', tokens)
  }

  /** The id of a token that the user named. @throws TOKENIZER_MISMATCH when the tokenizer has no such token */
  idOf(token: string): Promise<number> {
    return ask(this.workers, this.path, 'idOf', token)
  }

  encode(text: string): Promise<Uint32Array> {
    return ask(this.workers, this.path, 'encode', text)
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
    throw error instanceof WorkerDeath ? stoppedAt(file, error) : error
  }
}
