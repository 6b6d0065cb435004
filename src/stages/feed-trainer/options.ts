/**
 * Options of feed-trainer: the training options of both engines, plus those that only a pipeline can supply (tokenizer,
 * held-out file, sample texts, resume).
 */
import * as z from 'zod'
import { indivisibleWidth, lazy, trainingSchemas } from '../../training/options.js'
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
    bytes_per_token: z.number().positive().optional().describe('mean bytes of text per token, to report bits per byte'),
    allow_overlap: z.boolean().default(false).describe('accept samples that the training also uses'),
    loss_mask: trainingSchemas()
      .lossMask.optional()
      .describe('compute the loss only on tokens between these two markers'),
  })
  const namedHeldOutSchema = heldOutSchema.extend({
    name: z
      .string()
      .regex(/^[\w.-]+$/, 'expected letters, digits, dots, hyphens and underscores')
      .describe('name of the set in logs and metrics'),
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
      more_held_out: z
        .array(namedHeldOutSchema)
        .default([])
        .describe('further sets of held-out samples, each with a name; the options are those of held_out'),
      sample_texts: sampleTextsSchema.optional().describe('sample texts to generate during training'),
      resume: z.boolean().default(true).describe('resume from the newest checkpoint in the folder, if there is one'),
      accept_changed_data: z
        .boolean()
        .default(false)
        .describe(
          'resume although the samples are not those of the checkpoint, for example in another order: training continues with the new samples after as many as were trained on',
        ),
    })
    .refine(({ sample_texts, tokenizer }) => sample_texts === undefined || tokenizer !== undefined, {
      path: ['sample_texts'],
      message: 'sample_texts needs the option tokenizer',
    })
    .superRefine(({ tokenizer, model, loss_mask, held_out, more_held_out, torch }, context) => {
      const fail = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
      const indivisible = indivisibleWidth(model, torch)
      if (indivisible !== undefined) fail(['torch', 'tensor_parallel'], indivisible)
      if (tokenizer !== undefined) return
      if (model.vocab_size === undefined) fail(['model', 'vocab_size'], 'set the tokenizer or model.vocab_size')
      const masks = [loss_mask, ...heldOutSets({ held_out, more_held_out }).map(set => set.loss_mask)]
      const named = masks.flatMap(mask => (mask ? [mask.begin, mask.end] : [])).find(token => typeof token === 'string')
      if (named !== undefined)
        fail(
          ['loss_mask'],
          `the token ${named} cannot be looked up without a tokenizer: set the tokenizer, or use its id`,
        )
    })
    .superRefine(({ held_out, more_held_out: more, early_stop: stop }, context) => {
      const names = more.map(({ name }) => name)
      const twice = names.findIndex((name, index) => names.indexOf(name) < index)
      const fail = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
      if (twice >= 0) fail(['more_held_out', twice, 'name'], `two held-out sets are called ${names[twice]}`)
      if (stop === undefined) return
      if (stop.held_out === undefined) {
        if (held_out === undefined)
          fail(['early_stop'], 'early_stop needs held_out, or the name of another held-out set')
      } else if (!names.includes(stop.held_out)) {
        fail(['early_stop', 'held_out'], `no held-out set is called ${stop.held_out}`)
      }
    })
    .meta({ examples: [example] })
})
type Schema = ReturnType<typeof feedTrainerOptions>
export type FeedTrainerOptions = z.input<Schema>
export type FeedTrainerSettings = z.output<Schema>
export type SampleTexts = NonNullable<FeedTrainerSettings['sample_texts']>
export type HeldOut = NonNullable<FeedTrainerSettings['held_out']> & { readonly name?: string }

/** All held-out sets, that of `held_out` first. */
export function heldOutSets({
  held_out,
  more_held_out,
}: Pick<FeedTrainerSettings, 'held_out' | 'more_held_out'>): readonly HeldOut[] {
  return held_out === undefined ? more_held_out : [held_out, ...more_held_out]
}
