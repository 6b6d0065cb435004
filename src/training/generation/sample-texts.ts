/**
 * Sample texts during training: at a fixed interval of steps the model continues a prompt, always with the same seed, so
 * that differences come from the model alone. Generation does not affect the weights or the order of the samples.
 */
import type { Engine } from '../engine.js'
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
  encodePrompt(text: string): Promise<Iterable<number>>
  decode(ids: readonly number[]): Promise<string>
}

/** Reported by the stage for each text. */
export interface SampleTextEvent {
  readonly kind: 'sample-text'
  readonly step: number
  /** Prompt and continuation. */
  readonly text: string
}

export class TextSampler {
  private readonly options: SampleTextOptions
  private readonly engine: Engine
  private readonly tokenizer: TextCodec
  private readonly sequenceLength: number
  private lastStep: number

  /** @param step steps already taken in a resumed run; no text is due for them */
  constructor(options: SampleTextOptions, engine: Engine, tokenizer: TextCodec, sequenceLength: number, step: number) {
    this.options = options
    this.engine = engine
    this.tokenizer = tokenizer
    this.sequenceLength = sequenceLength
    this.lastStep = step
  }

  /** The text due after a step, if any; call it while no step is in flight. An abort drops it. */
  async after(step: number, signal: AbortSignal): Promise<SampleTextEvent | undefined> {
    const { prompt, every_steps, max_tokens, temperature } = this.options
    if (step === this.lastStep || step % every_steps !== 0) return undefined
    this.lastStep = step
    const { tokenizer } = this
    const ids = [...(await tokenizer.encodePrompt(prompt))]
    const limits = { maxTokens: max_tokens, sequenceLength: this.sequenceLength, vocabSize: tokenizer.totalSize }
    for await (const id of generate(this.engine, [...ids], { ...limits, temperature })) {
      if (signal.aborted) return undefined
      ids.push(id)
    }
    return { kind: 'sample-text', step, text: await tokenizer.decode(ids) }
  }
}
