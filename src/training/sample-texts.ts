/**
 * Texts that a model writes while it learns: every so many steps a prompt is continued, with the same seed each time, so
 * that what changes is the model. The weights and the order of the samples are not touched by it.
 */
import type { Engine } from './engine.js'
import { generate } from './generate.js'

export interface SampleTextOptions {
  readonly prompt: string
  readonly every_steps: number
  readonly max_tokens: number
  readonly temperature: number
}

/** Converts between text and ids. */
export interface TextCodec {
  /** Ids that the model may produce: [0, totalSize). */
  readonly totalSize: number
  encode(text: string): Promise<Iterable<number>>
  decode(ids: readonly number[]): Promise<string>
}

/** What a stage reports for each text. */
export interface SampleTextEvent {
  readonly kind: 'sample-text'
  readonly step: number
  /** The prompt and what follows. */
  readonly text: string
}

export class TextSampler {
  private readonly options: SampleTextOptions
  private readonly engine: Engine
  private readonly tokenizer: TextCodec
  private readonly sequenceLength: number
  private lastStep: number

  /** @param step the steps that a resumed run has behind it: no text is due for them */
  constructor(options: SampleTextOptions, engine: Engine, tokenizer: TextCodec, sequenceLength: number, step: number) {
    this.options = options
    this.engine = engine
    this.tokenizer = tokenizer
    this.sequenceLength = sequenceLength
    this.lastStep = step
  }

  /** A text when one is due after a step; call it between steps. */
  async after(step: number): Promise<SampleTextEvent | undefined> {
    const { prompt, every_steps, max_tokens, temperature } = this.options
    if (step === this.lastStep || step % every_steps !== 0) return undefined
    this.lastStep = step
    const { tokenizer } = this
    const ids = [...(await tokenizer.encode(prompt))]
    const limits = { maxTokens: max_tokens, sequenceLength: this.sequenceLength, vocabSize: tokenizer.totalSize }
    for await (const id of generate(this.engine, [...ids], { ...limits, temperature })) ids.push(id)
    return { kind: 'sample-text', step, text: await tokenizer.decode(ids) }
  }
}
