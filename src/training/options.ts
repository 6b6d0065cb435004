/**
 * What a training run is told: model, optimizer, schedule, lengths, intervals. The one place where defaults live.
 * Keys are snake_case, as users write them in YAML and as the reference system names them; an unknown key is refused.
 */
import { z } from 'zod'
import { PenstockError } from '../errors.js'

const positive = z.number().int().positive()
const share = z.number().min(0).max(1)

/** The model's widths; `vocab_size` may be left to the tokenizer. */
export const modelSchema = z
  .strictObject({
    /** Rows of the embedding; padded, so it may exceed the tokenizer's size. Default: `paddedVocabSize` of the tokenizer. */
    vocab_size: positive.optional(),
    sequence_length: positive.default(128),
    layers: positive.default(2),
    heads: positive.default(4),
    /** Key and value heads; each serves heads / kv_heads query heads. Default: heads. */
    kv_heads: positive.optional(),
    width: positive.default(128),
    /** Inner width of the feed-forward part. Default: 4 widths with gelu, 8/3 rounded up to a multiple of 32 with swiglu. */
    ffn_width: positive.optional(),
    position: z.enum(['rotary', 'learned', 'none']).default('rotary'),
    rotary_base: z.number().positive().default(10_000),
    norm: z.enum(['rms', 'layer']).default('rms'),
    norm_eps: z.number().positive().default(1e-5),
    activation: z.enum(['gelu', 'swiglu']).default('swiglu'),
    /** Adds biases to the linear maps and to the norms. */
    bias: z.boolean().default(false),
    /** Uses the token embedding as the output map too. */
    tie_weights: z.boolean().default(false),
    /** Only 0: without dropout a run can be repeated in any engine. */
    dropout: z.literal(0).default(0),
    /** Standard deviation of initial weights; maps that end in the residual stream get it divided by sqrt(2 layers). */
    init_std: z.number().positive().default(0.02),
    seed: z.number().int().nonnegative().default(0),
  })
  .superRefine((model, context) => {
    const fail = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
    if (model.width % model.heads !== 0) {
      fail('heads', `heads (${model.heads}) must divide width (${model.width})`)
    } else if (model.position === 'rotary' && (model.width / model.heads) % 2 !== 0) {
      fail('heads', `rotary positions need an even width per head; ${model.width} / ${model.heads} is odd`)
    }
    if (model.kv_heads !== undefined && model.heads % model.kv_heads !== 0) {
      fail('kv_heads', `kv_heads (${model.kv_heads}) must divide heads (${model.heads})`)
    }
  })

/** Parameters that weight decay can spare. */
export const parameterGroups = ['embedding', 'norm', 'bias', 'linear'] as const
export type ParameterGroup = (typeof parameterGroups)[number]

/** AdamW with decoupled weight decay. */
export const optimizerSchema = z.strictObject({
  /** The highest rate of the schedule. */
  learning_rate: z.number().positive().default(1e-3),
  betas: z.tuple([share, share]).default([0.9, 0.95]),
  eps: z.number().positive().default(1e-8),
  weight_decay: z.number().nonnegative().default(0.1),
  weight_decay_groups_excluded: z.array(z.enum(parameterGroups)).default(['embedding', 'norm', 'bias']),
})

const warmupSchedule = {
  warmup_steps: z.number().int().nonnegative().default(0),
  /** Lowest rate as a share of the highest. */
  min_ratio: share.default(0.1),
}

/** The learning rate over the steps; `onecycle` is torch's OneCycleLR with cosine annealing. */
export const scheduleSchema = z.discriminatedUnion('decay', [
  z.strictObject({ decay: z.literal('cosine'), ...warmupSchedule }),
  z.strictObject({ decay: z.literal('linear'), ...warmupSchedule }),
  z.strictObject({ decay: z.literal('constant'), warmup_steps: warmupSchedule.warmup_steps }),
  z.strictObject({
    decay: z.literal('onecycle'),
    pct_start: share.default(0.3),
    div_factor: z.number().positive().default(25),
    final_div_factor: z.number().positive().default(1e4),
  }),
])

export const trainingSchema = z
  .strictObject({
    model: modelSchema.prefault({}),
    optimizer: optimizerSchema.prefault({}),
    schedule: scheduleSchema.prefault({ decay: 'cosine' }),
    /** Largest global norm of the gradient; null leaves it as it is. */
    gradient_clip: z.number().positive().nullable().default(1),
    /** Rows of one micro batch. */
    batch_size: positive.default(8),
    /** Micro batches that make one step. */
    accumulation_steps: positive.default(1),
    /** The length of the run: at most one of steps, tokens and epochs; one epoch when none is given. */
    steps: positive.optional(),
    tokens: positive.optional(),
    epochs: positive.optional(),
    evaluation: z.strictObject({ every_steps: positive.default(100), batches: positive.default(8) }).optional(),
    checkpoint: z
      .strictObject({
        folder: z.string().min(1),
        every_steps: positive.default(100),
        /** Newest checkpoints kept; null keeps all. */
        keep: positive.nullable().default(2),
      })
      .optional(),
    log_every_steps: positive.default(10),
    backend: z.enum(['wasm', 'cpu', 'node', 'node-gpu', 'webgpu']).default('wasm'),
    engine: z.enum(['tfjs', 'torch']).default('tfjs'),
  })
  .superRefine((training, context) => {
    const lengths = (['steps', 'tokens', 'epochs'] as const).filter(key => training[key] !== undefined)
    if (lengths.length > 1) {
      context.addIssue({ code: 'custom', path: [lengths[1]!], message: `give only one of ${lengths.join(', ')}` })
    }
  })

export type TrainingInput = z.input<typeof trainingSchema>
export type TrainingOptions = z.output<typeof trainingSchema>
export type ModelInput = z.input<typeof modelSchema>
export type OptimizerOptions = z.output<typeof optimizerSchema>
export type ScheduleOptions = z.output<typeof scheduleSchema>
export type BackendName = TrainingOptions['backend']

/** A model with every width known. */
export interface ModelOptions extends z.output<typeof modelSchema> {
  vocab_size: number
  kv_heads: number
  ffn_width: number
}

/** Vocabularies are padded to a multiple of this, as the reference system demands. */
const vocabMultiple = 128

export function paddedVocabSize(tokenizerSize: number): number {
  return Math.ceil(tokenizerSize / vocabMultiple) * vocabMultiple
}

/**
 * Checks a training definition and fills in its defaults.
 * @throws OPTION_INVALID naming the option and what was expected
 */
export function parseTraining(input: unknown): TrainingOptions {
  return parse(trainingSchema, input)
}

/**
 * Checks a model and derives the widths that were left out.
 * @param tokenizerSize number of ids of the tokenizer: gives or bounds `vocab_size`
 * @throws OPTION_INVALID, TOKENIZER_MISMATCH
 */
export function resolveModel(input: ModelInput, tokenizerSize?: number): ModelOptions {
  const model = parse(modelSchema, input)
  const vocabSize = model.vocab_size ?? (tokenizerSize === undefined ? undefined : paddedVocabSize(tokenizerSize))
  if (vocabSize === undefined) {
    throw new PenstockError('OPTION_INVALID', 'the model has no vocab_size and there is no tokenizer to take it from', {
      path: 'model.vocab_size',
    })
  }
  if (tokenizerSize !== undefined && vocabSize < tokenizerSize) {
    throw new PenstockError(
      'TOKENIZER_MISMATCH',
      `the model's vocab_size is ${vocabSize}, but the tokenizer has ${tokenizerSize} ids`,
      { path: 'model.vocab_size' },
    )
  }
  const ffnWidth = model.activation === 'gelu' ? 4 * model.width : Math.ceil((model.width * 8) / 3 / 32) * 32
  return {
    ...model,
    vocab_size: vocabSize,
    kv_heads: model.kv_heads ?? model.heads,
    ffn_width: model.ffn_width ?? ffnWidth,
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const result = schema.safeParse(input)
  if (result.success) {
    return result.data
  }
  const issue = result.error.issues[0]!
  const path = issue.path.map(String).join('.')
  throw new PenstockError('OPTION_INVALID', issue.message, path === '' ? {} : { path }, result.error)
}
