/**
 * What a training run is told: model, optimizer, schedule, lengths, intervals. The one place where defaults live.
 * Keys are snake_case, as users write them in YAML and as the reference system names them; an unknown key is refused.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'

/** A value made on first use: commands that do not need it start without it. */
export function lazy<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

const parameterGroups = ['embedding', 'norm', 'bias', 'linear'] as const
export type ParameterGroup = (typeof parameterGroups)[number]

/** Made when they are first asked for: commands that do not train have no use for hundreds of schemas. */
export const trainingSchemas = lazy(() => {
  const positive = z.int().positive()
  const share = z.number().min(0).max(1)

  /** The model's widths; those left out are derived by `resolveModel`. */
  const modelSchema = z
    .strictObject({
      vocab_size: positive
        .optional()
        .describe("rows of the embedding; by default the tokenizer's size, padded to a multiple of 128"),
      sequence_length: z.int().min(2).default(128).describe('tokens that the model sees at once'),
      layers: positive.default(2).describe('blocks of attention and feed-forward'),
      heads: positive.default(4).describe('query heads'),
      kv_heads: positive.optional().describe('key and value heads, shared by groups of query heads; default: heads'),
      width: positive.default(128).describe('width of the residual stream'),
      ffn_width: positive
        .optional()
        .describe('inner width of the feed-forward part; by default 4 widths with gelu, about 8/3 with swiglu'),
      position: z.enum(['rotary', 'learned', 'none']).default('rotary').describe('how positions are told apart'),
      rotary_base: z.number().positive().default(10_000).describe('base of the rotary angles'),
      norm: z.enum(['rms', 'layer']).default('rms').describe('normalization before each part'),
      norm_eps: z.number().positive().default(1e-5).describe('added to the variance'),
      activation: z.enum(['gelu', 'swiglu']).default('swiglu').describe('of the feed-forward part'),
      bias: z.boolean().default(false).describe('biases in linear maps and norms'),
      tie_weights: z.boolean().default(false).describe('use the token embedding as the output map too'),
      dropout: z.literal(0).default(0).describe('only 0: without it a run can be repeated in any engine'),
      init_std: z
        .number()
        .positive()
        .default(0.02)
        .describe('deviation of first weights; divided by sqrt(2 layers) in maps that end in the residual stream'),
      seed: z.int().nonnegative().default(0).describe('of the first weights'),
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

  /** AdamW with decoupled weight decay. */
  const optimizerSchema = z.strictObject({
    learning_rate: z.number().positive().default(1e-3).describe('the highest rate of the schedule'),
    betas: z.tuple([share, share]).default([0.9, 0.95]).describe('decay of the first and second moment'),
    eps: z.number().positive().default(1e-8).describe('added to the root of the second moment'),
    weight_decay: z.number().nonnegative().default(0.1).describe('decoupled decay'),
    weight_decay_groups_excluded: z
      .array(z.enum(parameterGroups))
      .default(['embedding', 'norm', 'bias'])
      .describe('weights that do not decay'),
  })

  const warmupSteps = z.int().nonnegative().default(0).describe('steps of linear growth at the start')
  const minRatio = share.default(0.1).describe('lowest rate as a share of the highest')

  /** The learning rate over the steps; `onecycle` is torch's OneCycleLR with cosine annealing. */
  const scheduleSchema = z.discriminatedUnion('decay', [
    z.strictObject({ decay: z.literal('cosine'), warmup_steps: warmupSteps, min_ratio: minRatio }),
    z.strictObject({ decay: z.literal('linear'), warmup_steps: warmupSteps, min_ratio: minRatio }),
    z.strictObject({ decay: z.literal('constant'), warmup_steps: warmupSteps }),
    z.strictObject({
      decay: z.literal('onecycle'),
      pct_start: share.default(0.3).describe('share of the steps that grow'),
      div_factor: z.number().positive().default(25).describe('highest rate over first rate'),
      final_div_factor: z.number().positive().default(1e4).describe('first rate over last rate'),
    }),
  ])

  /** Which targets count, in data of conversations. */
  const lossMaskSchema = z.strictObject({
    begin: z.union([z.string().min(1), z.int().nonnegative()]).describe('token, or id, behind which targets count'),
    end: z.union([z.string().min(1), z.int().nonnegative()]).describe('token, or id, from which on they do not'),
    micro_batch: positive.optional().describe('samples that are masked and averaged together; batch_size when absent'),
    ranks: positive.default(1).describe('ranks that the samples of a step are dealt to, micro batch by micro batch'),
  })

  const evaluationSchema = z.strictObject({
    every_steps: positive.default(100).describe('steps between evaluations'),
    batches: positive.default(8).describe('held-out batches of each evaluation'),
    at_start: z.boolean().default(false).describe('evaluate the untrained model too'),
  })

  const checkpointSchema = z.strictObject({
    folder: z.string().min(1).describe('where the checkpoints of the run stand'),
    every_steps: positive.default(100).describe('steps between checkpoints'),
    keep: positive.nullable().default(2).describe('newest checkpoints kept; null keeps all'),
  })

  /** How the torch engine spreads a run over processes and devices. The batch of a step stays the same, however many. */
  const torchSchema = z.strictObject({
    nproc: positive.default(1).describe('processes (ranks) on this machine: one for each GPU'),
    device: z.enum(['auto', 'cpu', 'cuda']).default('auto').describe('auto: GPUs where there are any'),
    mixed_precision: z
      .enum(['auto', 'none', 'bf16'])
      .default('auto')
      .describe('type of forward and backward; weights and moments stay float32. auto: bf16 on GPUs'),
    compile: z.boolean().default(false).describe('run the layers through torch.compile'),
    activation_checkpointing: z.boolean().default(false).describe('compute activations again instead of keeping them'),
    replicate_degree: positive.default(1).describe('copies of the whole model'),
    shard_degree: positive.optional().describe('ranks that share one copy; by default what the other degrees leave'),
    tensor_parallel: positive
      .default(1)
      .describe('neighbouring ranks that share the products of a layer and see the same rows'),
    python: z
      .string()
      .min(1)
      .optional()
      .describe('the interpreter; default: PENSTOCK_PYTHON, then penstock setup torch'),
    max_restarts: z
      .int()
      .nonnegative()
      .default(0)
      .describe('go on from the newest checkpoint when ranks die, so often'),
  })

  const trainingSchema = z
    .strictObject({
      model: modelSchema.prefault({}).describe('the model'),
      optimizer: optimizerSchema.prefault({}).describe('AdamW'),
      schedule: scheduleSchema.prefault({ decay: 'cosine' }).describe('the learning rate over the steps'),
      gradient_clip: z
        .number()
        .positive()
        .nullable()
        .default(1)
        .describe('largest global norm of the gradient, or null'),
      batch_size: positive.default(8).describe('samples of a micro batch'),
      accumulation_steps: positive.default(1).describe('micro batches of a step'),
      steps: positive.optional().describe('length of the run; or give tokens, or epochs'),
      tokens: positive.optional().describe('length of the run in tokens'),
      epochs: positive.optional().describe('length of the run in passes over the samples; 1 when no length is given'),
      evaluation: evaluationSchema.optional().describe('when to evaluate on held-out samples'),
      checkpoint: checkpointSchema.optional().describe('when and where to save'),
      loss_mask: lossMaskSchema
        .optional()
        .describe('learn only what stands between two tokens: answers in conversations'),
      log_every_steps: positive.default(10).describe('steps between reports'),
      backend: z
        .enum(['wasm', 'cpu', 'node', 'node-gpu', 'webgpu', 'auto'])
        .default('wasm')
        .describe(
          'of TensorFlow.js; all but wasm and cpu are installed apart. auto: the first that loads of node-gpu, node, webgpu, wasm; a resumed run stays with its own',
        ),
      threads: z
        .union([positive, z.literal('auto')])
        .default('auto')
        .describe('of the wasm backend, which share the samples of a batch; their number decides the last bits'),
      engine: z.enum(['tfjs', 'torch']).default('tfjs').describe('what does the arithmetic'),
      torch: torchSchema.prefault({}).describe('how the torch engine runs'),
    })
    .superRefine((training, context) => {
      const lengths = (['steps', 'tokens', 'epochs'] as const).filter(key => training[key] !== undefined)
      if (lengths.length > 1) {
        context.addIssue({ code: 'custom', path: [lengths[1]!], message: `give only one of ${lengths.join(', ')}` })
      }
    })

  return {
    model: modelSchema,
    optimizer: optimizerSchema,
    schedule: scheduleSchema,
    lossMask: lossMaskSchema,
    torch: torchSchema,
    training: trainingSchema,
  }
})
type Schemas = ReturnType<typeof trainingSchemas>

export type TrainingInput = z.input<Schemas['training']>
export type TrainingOptions = z.output<Schemas['training']>
export type ModelInput = z.input<Schemas['model']>
export type OptimizerOptions = z.output<Schemas['optimizer']>
export type ScheduleOptions = z.output<Schemas['schedule']>
export type TorchOptions = z.output<Schemas['torch']>
export type LossMaskOptions = z.output<Schemas['lossMask']>
export type BackendName = Exclude<TrainingOptions['backend'], 'auto'>

/** A model with every width known. */
export interface ModelOptions extends z.output<Schemas['model']> {
  vocab_size: number
  kv_heads: number
  ffn_width: number
}

/** Vocabularies are padded to a multiple of this, as the reference system demands. */
const vocabMultiple = 128

function paddedVocabSize(tokenizerSize: number): number {
  return Math.ceil(tokenizerSize / vocabMultiple) * vocabMultiple
}

/**
 * Checks a training definition and fills in its defaults.
 * @throws OPTION_INVALID naming the option and what was expected
 */
export function parseTraining(input: unknown): TrainingOptions {
  return parse(trainingSchemas().training, input)
}

/**
 * Checks a model and derives the widths that were left out.
 * @param tokenizerSize number of ids of the tokenizer: gives or bounds `vocab_size`
 * @throws OPTION_INVALID, TOKENIZER_MISMATCH
 */
export function resolveModel(input: ModelInput, tokenizerSize?: number): ModelOptions {
  const model = parse(trainingSchemas().model, input)
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

/**
 * Proves that every rank of a tensor-parallel group gets as much of the model as the others.
 * @throws OPTION_INVALID naming the width that does not divide
 */
export function requireDivisible(
  model: ModelOptions,
  { tensor_parallel: ranks }: Pick<TorchOptions, 'tensor_parallel'>,
): void {
  for (const key of ['heads', 'kv_heads', 'ffn_width', 'vocab_size', 'sequence_length'] as const) {
    if (model[key] % ranks !== 0) {
      const message = `tensor_parallel (${ranks}) must divide the model's ${key} (${model[key]})`
      throw new PenstockError('OPTION_INVALID', message, { path: 'torch.tensor_parallel' })
    }
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
