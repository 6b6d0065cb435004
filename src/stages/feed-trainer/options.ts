/**
 * Options of feed-trainer: the training options of both engines, plus those that only a pipeline can supply (tokenizer,
 * held-out file, sample texts, resume).
 */
import * as z from 'zod'
import { lazy, trainingSchemas } from '../../training/options.js'
import { packOption, rangeOptions } from '../samples/packed-samples.js'

/** A small model, as `penstock stages feed-trainer` shows it. */
const example = {
  tokenizer: 'tokenizer.json',
  model: { sequence_length: 256, layers: 4, heads: 4, width: 256 },
  batch_size: 16,
  steps: 1000,
  held_out: { path: 'held-out.pbin' },
  evaluation: { every_steps: 100 },
  checkpoint: { folder: 'checkpoints', every_steps: 200 },
}

export const feedTrainerOptions = lazy(() => {
  const heldOutSchema = z.strictObject({
    path: z.string().min(1).describe('the held-out .pbin file'),
    more_paths: z.array(z.string().min(1)).optional().describe('further .pbin files; their samples are appended'),
    pack: packOption,
    ...rangeOptions('all'),
    sequence_length: z
      .int()
      .min(2)
      .optional()
      .describe("tokens per held-out sample; defaults to the model's sequence_length"),
    reuse_last_target: z
      .boolean()
      .default(true)
      .describe('let consecutive blocks share one token: the last target of one is the first input of the next'),
    allow_overlap: z.boolean().default(false).describe('accept samples that the training also uses'),
    loss_mask: trainingSchemas()
      .lossMask.optional()
      .describe('compute the loss only on tokens between these two markers'),
  })
  const sampleTextsSchema = z.strictObject({
    prompt: z.string().min(1).describe('the text to continue'),
    every_steps: z.int().positive().default(100).describe('steps between two sample texts'),
    max_tokens: z.int().positive().default(40).describe('maximum number of tokens to generate'),
    temperature: z
      .number()
      .nonnegative()
      .default(0.8)
      .describe('sampling temperature; 0 always picks the most likely token'),
  })
  return trainingSchemas()
    .training.safeExtend({
      tokenizer: z
        .string()
        .min(1)
        .optional()
        .describe('tokenizer file or folder; sets the vocabulary size and is recorded in checkpoints'),
      held_out: heldOutSchema.optional().describe('held-out samples for evaluation'),
      sample_texts: sampleTextsSchema.optional().describe('sample texts to generate during training'),
      resume: z.boolean().default(true).describe('resume from the newest checkpoint in the folder, if there is one'),
    })
    .refine(({ sample_texts, tokenizer }) => sample_texts === undefined || tokenizer !== undefined, {
      path: ['sample_texts'],
      message: 'sample_texts needs the option tokenizer',
    })
    .meta({ examples: [example] })
})
type Schema = ReturnType<typeof feedTrainerOptions>
export type FeedTrainerOptions = z.input<Schema>
export type FeedTrainerSettings = z.output<Schema>
export type SampleTexts = NonNullable<FeedTrainerSettings['sample_texts']>
export type HeldOut = NonNullable<FeedTrainerSettings['held_out']>
