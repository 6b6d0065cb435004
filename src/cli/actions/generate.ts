/** Generates text from a checkpoint and a prompt, token by token. */

import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PenstockError } from '../../errors.js'
import { type Checkpoint, openCheckpoint, openLatestCheckpoint } from '../../training/checkpoint.js'
import { generate } from '../../training/generate.js'
import { openTrained } from '../../training/open-engine.js'
import type { TrainingOptions } from '../../training/options.js'
import { TokenizerThread } from '../../workers/tokenizer/tokenizer-thread.js'
import { describeError, notify } from '../output/notices.js'

export interface TextOptions {
  readonly prompt: string
  readonly maxTokens: number
  /** 0 always takes the most likely token. */
  readonly temperature: number
  readonly topK?: number
  readonly seed: number
  /** Path of the tokenizer, if it differs from the one in the checkpoint. */
  readonly tokenizer?: string
  readonly engine: string
  readonly backend: string
  /** Generation stops at this token, which is not part of the text. */
  readonly endOfDocument?: string
}

/** Yields the prompt first. @throws FILE_MISSING, CHECKPOINT_INVALID, TOKENIZER_MISMATCH */
export async function* continueText(path: string, options: TextOptions): AsyncGenerator<string> {
  const { path: folder, state } = await findCheckpoint(path)
  const tokenizerPath = options.tokenizer ?? state.tokenizer?.path
  if (tokenizerPath === undefined) {
    throw new PenstockError('ARGUMENT_INVALID', 'the checkpoint does not record a tokenizer: pass --tokenizer', {
      file: folder,
    })
  }
  const tokenizer = await TokenizerThread.open(tokenizerPath).catch(error => {
    if (options.tokenizer !== undefined || error.code !== 'FILE_MISSING') throw error
    const message = 'the tokenizer that the checkpoint records does not exist here: pass --tokenizer'
    throw new PenstockError('FILE_MISSING', message, { file: tokenizerPath }, error)
  })
  try {
    if (state.tokenizer !== undefined && state.tokenizer.sha256 !== tokenizer.sha256) {
      const message = `the model was trained with a tokenizer other than ${tokenizerPath}`
      throw new PenstockError('TOKENIZER_MISMATCH', message, { file: folder })
    }
    yield* continueIn(folder, tokenizer, options)
  } finally {
    await tokenizer.close()
  }
}

async function* continueIn(folder: string, tokenizer: TokenizerThread, options: TextOptions): AsyncGenerator<string> {
  const { endOfDocument, topK } = options
  const { engine, model } = await openTrained(folder, {
    engine: options.engine as TrainingOptions['engine'],
    backend: options.backend as TrainingOptions['backend'],
  })
  try {
    const ids = [...(await tokenizer.encodePrompt(options.prompt))]
    let shown = await tokenizer.decode(ids)
    yield shown
    const sampling = {
      maxTokens: options.maxTokens,
      sequenceLength: model.sequence_length,
      temperature: options.temperature,
      seed: options.seed,
      vocabSize: tokenizer.totalSize,
      ...(topK === undefined ? {} : { topK }),
      ...(endOfDocument === undefined ? {} : { endToken: await tokenizer.idOf(endOfDocument) }),
    }
    for await (const id of generate(engine, ids, sampling)) {
      ids.push(id)
      const text = await tokenizer.decode(ids)
      // Wait for the rest of a character that spans several tokens.
      if (text.endsWith('\uFFFD')) continue
      yield text.slice(shown.length)
      shown = text
    }
    yield (await tokenizer.decode(ids)).slice(shown.length)
  } finally {
    await engine.close()
  }
}

/**
 * The checkpoint at a path, or the newest intact one inside it.
 * @throws FILE_MISSING, FILE_UNREADABLE, CHECKPOINT_INVALID
 */
export async function findCheckpoint(path: string): Promise<Checkpoint> {
  const isCheckpoint = await stat(join(path, 'state.json')).then(
    () => true,
    () => false,
  )
  const found = isCheckpoint ? await openCheckpoint(path) : await openLatestCheckpoint(path, skipDamaged)
  if (found !== undefined) return found
  throw new PenstockError('FILE_MISSING', 'no checkpoint found', { file: path })
}

/** Falls back to an older checkpoint only if the newest is damaged, not if it is temporarily unreadable. */
function skipDamaged(error: PenstockError): void {
  if (error.code === 'FILE_UNREADABLE') throw error
  notify(`skipped a damaged checkpoint: ${error.toLine()}`, { event: 'damaged-checkpoint', ...describeError(error) })
}
