/**
 * Options of feed-trainer: the training options of both engines, plus what only a pipeline can give (tokenizer, held-out
 * file, sample texts, resume).
 */
import * as z from 'zod'
import { lazy, trainingSchemas } from '../training/options.js'

export const feedTrainerOptions = lazy(() => {
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
