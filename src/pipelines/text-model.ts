/** A checkpoint with its tokenizer, which continues prompts token by token. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PenstockError } from '../errors.js'
import { type Checkpoint, openCheckpoint, openLatestCheckpoint } from '../training/checkpoint.js'
import { tokenizerPathOf } from '../training/checkpoint-tokenizer.js'
import type { Engine } from '../training/engine.js'
import { type GenerationEnd, generate } from '../training/generation/generate.js'
import type { SamplingOptions } from '../training/generation/token-sampler.js'
import { openTrained } from '../training/open-engine.js'
import type { ModelOptions, TrainingOptions } from '../training/options.js'
import { fetchCheckpoints } from '../training/stored-checkpoints.js'
import { TokenizerThread } from '../workers/tokenizer/tokenizer-thread.js'

export interface ModelSource {
  /** Path of the tokenizer, if it differs from the one in the checkpoint. */
  readonly tokenizer?: string
  readonly engine: string
  readonly backend: string
  readonly onDamaged?: OnDamaged
}

export interface TextOptions extends SamplingOptions {
  readonly prompt: string
  readonly maxTokens: number
  readonly seed: number
  /** Whether the text ends at the end of a document. */
  readonly stop: boolean
  /** The token that ends a document, if it differs from that of the training data. It is not part of the text. */
  readonly endOfDocument?: string
}

export interface GeneratedText {
  readonly promptTokens: number
  readonly tokens: number
  readonly end: GenerationEnd
}

/** The text of one prompt, in pieces. Yields the prompt first. @throws as `TextModel.open` and `TextModel.continue` */
export async function* continueText(path: string, options: TextOptions & ModelSource): AsyncGenerator<string> {
  const model = await TextModel.open(path, options)
  try {
    yield* model.continue(options)
  } finally {
    await model.close()
  }
}

/** The model and the tokenizer of a checkpoint. Holds an engine and a thread until `close`. */
export class TextModel {
  readonly #checkpoint: Checkpoint
  readonly #tokenizer: TokenizerThread
  readonly #engine: Engine
  readonly #model: ModelOptions

  private constructor(checkpoint: Checkpoint, tokenizer: TokenizerThread, engine: Engine, model: ModelOptions) {
    this.#checkpoint = checkpoint
    this.#tokenizer = tokenizer
    this.#engine = engine
    this.#model = model
  }

  /**
   * @param path a checkpoint, or a folder of checkpoints, of which the newest is used
   * @throws FILE_MISSING, CHECKPOINT_INVALID, TOKENIZER_MISMATCH, ARGUMENT_INVALID without a tokenizer
   */
  static async open(path: string, source: ModelSource): Promise<TextModel> {
    const checkpoint = await findCheckpoint(path, source.onDamaged)
    const tokenizer = await openTokenizer(checkpoint, source.tokenizer)
    try {
      const { engine, model } = await openTrained(checkpoint.path, {
        engine: source.engine as TrainingOptions['engine'],
        backend: source.backend as TrainingOptions['backend'],
      })
      return new TextModel(checkpoint, tokenizer, engine, model)
    } catch (error) {
      await tokenizer.close()
      throw error
    }
  }

  /**
   * Yields the text in pieces, the prompt first.
   *
   * @throws ARGUMENT_INVALID for a prompt without tokens, TOKENIZER_MISMATCH for an unknown `endOfDocument`
   */
  async *continue(options: TextOptions): AsyncGenerator<string, GeneratedText> {
    const tokenizer = this.#tokenizer
    const ids = [...(await tokenizer.encodePrompt(options.prompt))]
    const promptTokens = ids.length
    const endToken = await this.#endToken(options)
    const generation = generate(this.#engine, ids, {
      ...options,
      sequenceLength: this.#model.sequence_length,
      vocabSize: tokenizer.totalSize,
      ...(endToken === undefined ? {} : { endToken }),
    })
    const end = yield* decodedParts(ids, generation, all => tokenizer.decode(all))
    return { promptTokens, tokens: ids.length - promptTokens, end }
  }

  async #endToken({ stop, endOfDocument }: TextOptions): Promise<number | undefined> {
    if (!stop) return undefined
    return endOfDocument === undefined
      ? this.#checkpoint.state.endOfDocumentId
      : await this.#tokenizer.idOf(endOfDocument)
  }

  async close(): Promise<void> {
    await this.#engine.close()
    await this.#tokenizer.close()
  }
}

async function openTokenizer(checkpoint: Checkpoint, given: string | undefined): Promise<TokenizerThread> {
  const { path: folder, state } = checkpoint
  const path = given ?? tokenizerPathOf(checkpoint)
  if (path === undefined) {
    throw new PenstockError('ARGUMENT_INVALID', 'the checkpoint does not record a tokenizer: pass --tokenizer', {
      file: folder,
    })
  }
  const tokenizer = await TokenizerThread.open(path).catch(error => {
    if (given !== undefined || error.code !== 'FILE_MISSING') throw error
    const message = 'the tokenizer that the checkpoint records does not exist here: pass --tokenizer'
    throw new PenstockError('FILE_MISSING', message, { file: path }, error)
  })
  if (state.tokenizer === undefined || state.tokenizer.sha256 === tokenizer.sha256) return tokenizer
  await tokenizer.close()
  const message = `the model was trained with a tokenizer other than ${path}`
  throw new PenstockError('TOKENIZER_MISMATCH', message, { file: folder })
}

/**
 * The text of the prompt, then what each token adds to it. A character that spans several tokens comes whole; an incomplete
 * one at the end of the text is U+FFFD.
 *
 * @param ids of the prompt; the tokens are appended
 */
export async function* decodedParts<End>(
  ids: number[],
  tokens: AsyncGenerator<number, End>,
  decode: (ids: readonly number[]) => string | Promise<string>,
): AsyncGenerator<string, End> {
  let shown = await decode(ids)
  yield shown
  let next = await tokens.next()
  for (; next.done !== true; next = await tokens.next()) {
    ids.push(next.value)
    const text = await decode(ids)
    if (text.endsWith('\uFFFD')) continue
    yield text.slice(shown.length)
    shown = text
  }
  yield (await decode(ids)).slice(shown.length)
  return next.value
}

/** Called with the error of a damaged checkpoint, when an older one is used. */
export type OnDamaged = (error: PenstockError) => void

/**
 * The checkpoint at a path, or the newest intact one inside it.
 * @throws FILE_MISSING, FILE_UNREADABLE, CHECKPOINT_INVALID
 */
export async function findCheckpoint(name: string, onDamaged: OnDamaged = () => {}): Promise<Checkpoint> {
  const path = await fetchCheckpoints(name)
  /** Falls back to an older checkpoint only if the newest is damaged, not if it is temporarily unreadable. */
  const skip: OnDamaged = error => {
    if (error.code === 'FILE_UNREADABLE') throw error
    onDamaged(error)
  }
  const isCheckpoint = await stat(join(path, 'state.json')).then(
    () => true,
    () => false,
  )
  const found = isCheckpoint ? await openCheckpoint(path) : await openLatestCheckpoint(path, skip)
  if (found !== undefined) return found
  throw new PenstockError('FILE_MISSING', 'no checkpoint found', { file: name })
}
