/**
 * Samples -> a trained model. What happens is reported as `TrainingEvent`s. The trainer's own code (`train-on-samples.ts`)
 * is loaded only when a run begins: commands that do not train start without it.
 */
import * as z from 'zod'
import type { SampleBatch } from '../formats/batches.js'
import { once } from '../training/once.js'
import { trainingSchemas } from '../training/options.js'
import { parseOptions } from './parse-options.js'
import { type SinkStage, sink } from './stage.js'

export const feedTrainerOptions = once(() => {
  const heldOutSchema = z.strictObject({
    path: z.string().min(1).describe('the .pbin file'),
    more_paths: z.array(z.string().min(1)).optional().describe('further files, whose samples come behind its own'),
    from: z.number().min(0).max(1).default(0).describe('start of the part of the file to take, as a fraction'),
    to: z.number().min(0).max(1).default(1).describe('end of that part'),
    sequence_length: z.int().min(2).optional().describe("of its samples; the model's when absent"),
    reuse_last_target: z.boolean().default(true).describe('the last target of a block is the first input of the next'),
    loss_mask: trainingSchemas().lossMask.optional().describe('evaluate only on what stands between two tokens'),
  })
  const sampleTextsSchema = z.strictObject({
    prompt: z.string().min(1).describe('the text to continue'),
    every_steps: z.int().positive().default(100).describe('steps between texts'),
    max_tokens: z.int().positive().default(40).describe('tokens to add at most'),
    temperature: z.number().nonnegative().default(0.8).describe('0 takes the likeliest token each time'),
  })
  return trainingSchemas()
    .training.safeExtend({
      tokenizer: z.string().min(1).optional().describe('gives the vocabulary and is named in checkpoints'),
      held_out: heldOutSchema.optional().describe('samples to evaluate on'),
      sample_texts: sampleTextsSchema.optional().describe('texts to write with the model while it learns'),
      resume: z.boolean().default(true).describe('go on from the newest checkpoint of the folder, if there is one'),
    })
    .refine(({ sample_texts, tokenizer }) => sample_texts === undefined || tokenizer !== undefined, {
      path: ['sample_texts'],
      message: 'sample_texts needs the option tokenizer',
    })
})
type Schema = ReturnType<typeof feedTrainerOptions>
export type FeedTrainerOptions = z.input<Schema>
export type FeedTrainerSettings = z.output<Schema>
export type SampleTexts = NonNullable<FeedTrainerSettings['sample_texts']>
export type HeldOut = NonNullable<FeedTrainerSettings['held_out']>

/** @throws OPTION_INVALID, TOKENIZER_MISMATCH, WORLD_MISMATCH, CHECKPOINT_INVALID, PEER_MISSING, ENGINE_FAILED */
export function feedTrainer(options: FeedTrainerOptions): SinkStage<SampleBatch> {
  const checked = parseOptions(feedTrainerOptions(), options, 'feed-trainer')
  return sink('feed-trainer', async (input, context) => {
    const { trainOnSamples } = await import('./train-on-samples.js')
    await trainOnSamples(checked, input, context)
  })
}
