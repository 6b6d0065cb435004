/**
 * Options of a training run: model, optimizer, schedule, length, intervals. The only place that defines defaults. Keys are
 * snake_case, as in the YAML files and in Modalities; an unknown key is rejected.
 */

import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { count, quantity } from '../formats/message-words.js'
import { describeIssue } from '../formats/option-issue.js'

/** Creates a value on first use, to keep the start of commands that do not need it fast. */
export function lazy<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

const parameterGroups = ['embedding', 'norm', 'bias', 'linear'] as const
export type ParameterGroup = (typeof parameterGroups)[number]

/** Created on first use: commands that do not train should not build hundreds of schemas. */
export const trainingSchemas = lazy(() => {
  const positive = z.int().positive()
  const share = z.number().min(0).max(1)

  /** Model options; `resolveModel` derives the widths that are not set. */
  const modelSchema = z
    .strictObject({
      vocab_size: positive
        .optional()
        .describe("rows of the embedding; by default the tokenizer's size, padded to a multiple of 128"),
      sequence_length: z.int().min(2).default(128).describe('length of the context window in tokens'),
      layers: positive.default(2).describe('number of transformer layers'),
      heads: positive.default(4).describe('number of query heads'),
      kv_heads: positive
        .optional()
        .describe('number of key and value heads, for grouped-query attention; default: heads'),
      head_dim: positive.optional().describe('width of a head of queries, keys and values; default: width / heads'),
      width: positive.default(128).describe('width of the residual stream'),
      ffn_width: positive
        .optional()
        .describe(
          'inner width of the feed-forward network; by default 4 times width with gelu, about 8/3 times with swiglu',
        ),
      position: z.enum(['rotary', 'learned', 'none']).default('rotary').describe('position encoding'),
      rotary_base: z.number().positive().default(10_000).describe('base of the rotary frequencies (rope_theta)'),
      norm: z
        .enum(['rms', 'layer'])
        .default('rms')
        .describe('normalization before attention and feed-forward: RMSNorm or LayerNorm'),
      norm_eps: z.number().positive().default(1e-5).describe('epsilon added to the variance in norms'),
      qk_norm: z
        .boolean()
        .default(false)
        .describe('RMSNorm of each head of queries and keys before the rotary positions, as in Qwen3'),
      activation: z.enum(['gelu', 'swiglu']).default('swiglu').describe('activation of the feed-forward network'),
      bias: z.boolean().default(false).describe('biases in linear layers and norms'),
      tie_weights: z.boolean().default(false).describe('share the token embedding with the output layer'),
      dropout: z.literal(0).default(0).describe('only 0 is supported: dropout would make runs differ between engines'),
      init_std: z
        .number()
        .positive()
        .default(0.02)
        .describe(
          'standard deviation of the initial weights; divided by sqrt(2 layers) in projections onto the residual stream',
        ),
      seed: z.int().nonnegative().default(0).describe('seed of the weight initialization'),
    })
    .superRefine((model, context) => {
      const fail = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
      const headDim = model.head_dim ?? model.width / model.heads
      if (!Number.isInteger(headDim)) {
        fail('heads', `heads (${model.heads}) must divide width (${model.width}) unless head_dim is set`)
      } else if (model.position === 'rotary' && headDim % 2 !== 0) {
        const option = model.head_dim === undefined ? 'heads' : 'head_dim'
        fail(option, `rotary positions need an even width per head; it is ${headDim}`)
      }
      if (model.kv_heads !== undefined && model.heads % model.kv_heads !== 0) {
        fail('kv_heads', `kv_heads (${model.kv_heads}) must divide heads (${model.heads})`)
      }
    })

  /** AdamW with decoupled weight decay. */
  const optimizerSchema = z.strictObject({
    learning_rate: z.number().positive().default(1e-3).describe('peak learning rate of the schedule'),
    betas: z.tuple([share, share]).default([0.9, 0.95]).describe('decay rates of the first and second moment'),
    eps: z.number().positive().default(1e-8).describe('epsilon added to the square root of the second moment'),
    weight_decay: z.number().nonnegative().default(0.1).describe('decoupled weight decay'),
    weight_decay_groups_excluded: z
      .array(z.enum(parameterGroups))
      .default(['embedding', 'norm', 'bias'])
      .describe('parameter groups without weight decay'),
  })

  const warmupSteps = z.int().nonnegative().default(0).describe('steps of linear warm-up')
  const warmup = {
    warmup_steps: warmupSteps,
    warmup_tokens: positive.optional().describe('tokens of linear warm-up, instead of warmup_steps'),
  }
  const minRatio = share.default(0.1).describe('final learning rate as a fraction of the peak')

  /** The learning rate over the steps; `onecycle` is torch's OneCycleLR with cosine annealing. */
  const scheduleSchema = z.discriminatedUnion('decay', [
    z.strictObject({ decay: z.literal('cosine'), ...warmup, min_ratio: minRatio }),
    z.strictObject({ decay: z.literal('linear'), ...warmup, min_ratio: minRatio }),
    z.strictObject({ decay: z.literal('constant'), ...warmup }),
    z.strictObject({ decay: z.literal('inverse_sqrt'), ...warmup }),
    z.strictObject({
      decay: z.literal('wsd'),
      ...warmup,
      decay_steps: positive
        .optional()
        .describe('steps of the decay at the end of the run; default: a tenth of the steps after the warm-up'),
      decay_tokens: positive.optional().describe('tokens of the decay, instead of decay_steps'),
      shape: z.enum(['linear', 'sqrt', 'cosine']).default('linear').describe('shape of the decay'),
      min_ratio: minRatio,
    }),
    z.strictObject({
      decay: z.literal('cosine_restarts'),
      ...warmup,
      cycle_steps: positive.optional().describe('steps of the first cycle; default: all steps after the warm-up'),
      cycle_tokens: positive.optional().describe('tokens of the first cycle, instead of cycle_steps'),
      cycle_factor: z.number().min(1).default(1).describe('length of each cycle relative to the one before'),
      min_ratio: minRatio,
    }),
    z.strictObject({
      decay: z.literal('onecycle'),
      pct_start: share.default(0.3).describe('fraction of the steps in which the learning rate rises'),
      div_factor: z.number().positive().default(25).describe('peak learning rate divided by the initial one'),
      final_div_factor: z.number().positive().default(1e4).describe('initial learning rate divided by the final one'),
    }),
  ])

  /** Selects the targets that count, in conversations. */
  const lossMaskSchema = z
    .strictObject({
      begin: z.union([z.string().min(1), z.int().nonnegative()]).describe('token or id after which targets count'),
      end: z
        .union([z.string().min(1), z.int().nonnegative()])
        .describe('token or id from which on targets are ignored again'),
      micro_batch: positive.optional().describe('samples that are masked and averaged together; default: batch_size'),
      ranks: positive.default(1).describe('number of ranks that the samples of a step are distributed to'),
    })
    .refine(({ begin, end }) => begin !== end, { path: ['end'], message: 'begin and end must be different tokens' })

  const evaluationSchema = z.strictObject({
    every_steps: positive.default(100).describe('steps between evaluations'),
    batches: positive.default(8).describe('held-out batches per evaluation'),
    at_start: z.boolean().default(false).describe('also evaluate the untrained model'),
  })

  const earlyStopSchema = z.strictObject({
    held_out: z.string().min(1).optional().describe('name of the held-out set; default: the one of held_out'),
    patience: positive.default(3).describe('evaluations without an improvement after which the run ends'),
    min_improvement: z.number().nonnegative().default(0).describe('decrease of the loss that counts as an improvement'),
  })

  const skipSpikesSchema = z.strictObject({
    window: z
      .int()
      .min(4)
      .default(128)
      .describe('number of previous steps to compare with; no step is skipped before half of them were taken'),
    sigma: z
      .number()
      .positive()
      .default(6)
      .describe('standard deviations above the mean of the window from which a loss or gradient norm is a spike'),
    max_steps: z
      .int()
      .nonnegative()
      .default(10)
      .describe('maximum number of steps skipped in a row because of spikes; one more stops the run'),
  })

  const checkpointSchema = z.strictObject({
    folder: z.string().min(1).describe('folder of the checkpoints of this run'),
    every_steps: positive.default(100).describe('steps between checkpoints'),
    keep: positive.nullable().default(2).describe('number of newest checkpoints to keep; null keeps all'),
    async: z
      .boolean()
      .default(true)
      .describe(
        'write checkpoints while training continues (torch engine); each rank copies its share of weights and moments to host memory first',
      ),
  })

  /** How the torch engine distributes a run over processes and devices. The batch of a step does not depend on it. */
  const torchSchema = z.strictObject({
    nproc: positive.default(1).describe('number of processes (ranks) on this machine: one per GPU'),
    device: z.enum(['auto', 'cpu', 'cuda']).default('auto').describe('device type; auto uses GPUs if there are any'),
    mixed_precision: z
      .enum(['auto', 'none', 'bf16'])
      .default('auto')
      .describe('precision of forward and backward; weights and moments stay float32. auto: bf16 on GPUs'),
    compile: z.boolean().default(false).describe('compile the layers with torch.compile'),
    activation_checkpointing: z
      .union([z.boolean(), z.literal('selective')])
      .default(false)
      .describe(
        'recompute activations in the backward pass instead of storing them; selective stores the results of products and attention and recomputes the rest',
      ),
    checkpointed_layers_every: positive
      .default(1)
      .describe('with activation_checkpointing, recompute only every n-th layer'),
    activation_memory_budget: share
      .nullable()
      .default(null)
      .describe(
        'with compile, fraction of the activations to store: the compiler recomputes the others, those that cost least first',
      ),
    reduce_every: z
      .enum(['micro_batch', 'step'])
      .default('micro_batch')
      .describe(
        'when sharded gradients are added up over the ranks; step needs less network, and memory for all gradients on every rank',
      ),
    replicate_degree: positive.default(1).describe('number of replicas of the model'),
    shard_degree: positive
      .optional()
      .describe('number of ranks that a replica is sharded over; default: the world size divided by the other degrees'),
    tensor_parallel: positive
      .default(1)
      .describe('number of neighbouring ranks that split the matrices of each layer and get the same rows'),
    python: z
      .string()
      .min(1)
      .optional()
      .describe('Python interpreter; default: PENSTOCK_PYTHON, then the environment of penstock setup torch'),
    start_timeout_s: z
      .number()
      .positive()
      .default(600)
      .describe('seconds in which all ranks must have imported torch and connected'),
    step_timeout_s: z
      .number()
      .positive()
      .nullable()
      .default(1800)
      .describe('seconds after which a step or an evaluation without an answer ends the run; null waits forever'),
    max_restarts: z
      .int()
      .nonnegative()
      .default(0)
      .describe('how many times to restart from the newest checkpoint after a rank dies'),
  })

  const trainingSchema = z
    .strictObject({
      model: modelSchema.prefault({}).describe('architecture of the model'),
      optimizer: optimizerSchema.prefault({}).describe('options of the AdamW optimizer'),
      schedule: scheduleSchema.prefault({ decay: 'cosine' }).describe('learning rate schedule'),
      gradient_clip: z
        .number()
        .positive()
        .nullable()
        .default(1)
        .describe('maximum global norm of the gradient; null disables clipping'),
      batch_size: positive.default(8).describe('samples per micro batch'),
      accumulation_steps: positive.default(1).describe('micro batches per step'),
      steps: positive.optional().describe('length of the run in steps; alternatives: tokens, epochs'),
      tokens: positive.optional().describe('length of the run in tokens'),
      epochs: positive.optional().describe('length of the run in passes over the samples; default: 1'),
      evaluation: evaluationSchema.optional().describe('when to evaluate on held-out samples'),
      early_stop: earlyStopSchema.optional().describe('end the run when a held-out loss no longer improves'),
      init_from: z
        .string()
        .min(1)
        .optional()
        .describe(
          'checkpoint, folder of checkpoints or Hugging Face folder whose weights a new run starts from, with a fresh optimizer',
        ),
      checkpoint: checkpointSchema.optional().describe('when and where to save'),
      loss_mask: lossMaskSchema
        .optional()
        .describe('train only on the targets between two tokens, such as the answers in conversations'),
      restart_positions: z
        .boolean()
        .default(false)
        .describe('start positions again at 0 in each document, for samples whose documents are masked'),
      ignore_first_targets: z
        .boolean()
        .default(false)
        .describe(
          'leave the first token of each document out of the loss, because no token of its document predicts it; for samples whose documents are masked',
        ),
      nonfinite: z
        .enum(['stop', 'skip'])
        .default('stop')
        .describe(
          'reaction to a step whose loss or gradient norm is NaN or infinite: stop the run, or skip the update',
        ),
      max_nonfinite_steps: z
        .int()
        .nonnegative()
        .default(10)
        .describe('maximum number of steps skipped in a row with nonfinite: skip; one more stops the run'),
      skip_spikes: skipSpikesSchema
        .optional()
        .describe('skip the update of a step whose loss or gradient norm is far above those of the steps before'),
      log_every_steps: positive.default(10).describe('steps between log events'),
      log_source_losses: z
        .boolean()
        .default(false)
        .describe('log the loss of each source of a mixture with every log event; costs a forward pass of one batch'),
      backend: z
        .enum(['wasm', 'cpu', 'node', 'node-gpu', 'webgpu', 'auto'])
        .default('wasm')
        .describe(
          'TensorFlow.js backend; all but wasm and cpu are installed separately. auto: the first of node-gpu, node, webgpu, wasm that loads; a resumed run keeps its backend',
        ),
      threads: z
        .union([positive, z.literal('auto')])
        .default('auto')
        .describe(
          'threads of the wasm backend, which split the samples of a batch; their number affects the last bits',
        ),
      engine: z.enum(['tfjs', 'torch']).default('tfjs').describe('library that computes the training steps'),
      torch: torchSchema.prefault({}).describe('options of the torch engine'),
    })
    .superRefine((training, context) => {
      const lengths = (['steps', 'tokens', 'epochs'] as const).filter(key => training[key] !== undefined)
      if (lengths.length > 1) {
        context.addIssue({ code: 'custom', path: [lengths[1]!], message: `give only one of ${lengths.join(', ')}` })
      }
      const schedule: Readonly<Record<string, unknown>> = training.schedule
      for (const part of ['warmup', 'decay', 'cycle']) {
        if (schedule[`${part}_tokens`] === undefined || !schedule[`${part}_steps`]) continue
        const message = `give only one of ${part}_steps, ${part}_tokens`
        context.addIssue({ code: 'custom', path: ['schedule', `${part}_tokens`], message })
      }
      if (training.torch.activation_memory_budget !== null && !training.torch.compile) {
        const message = 'activation_memory_budget needs compile: true'
        context.addIssue({ code: 'custom', path: ['torch', 'activation_memory_budget'], message })
      }
      if (training.early_stop !== undefined && training.evaluation === undefined) {
        context.addIssue({ code: 'custom', path: ['early_stop'], message: 'early_stop needs the option evaluation' })
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

/** Model options with all widths set. */
export interface ModelOptions extends z.output<Schemas['model']> {
  vocab_size: number
  kv_heads: number
  head_dim: number
  ffn_width: number
}

/** Vocabularies are padded to a multiple of this, as Modalities requires. */
const vocabMultiple = 128

function paddedVocabSize(tokenizerSize: number): number {
  return Math.ceil(tokenizerSize / vocabMultiple) * vocabMultiple
}

/**
 * Validates a training definition and fills in the defaults.
 * @throws OPTION_INVALID with the option and the expected value
 */
export function parseTraining(input: unknown): TrainingOptions {
  return parse(trainingSchemas().training, input, 'the training')
}

/** Sizes of a tokenizer's vocabulary. */
export interface VocabularySize {
  /** Tokens of the base vocabulary, without added ones. */
  readonly vocabSize: number
  /** Highest id + 1, added tokens included. */
  readonly totalSize: number
}

/**
 * Validates model options and derives the widths that are not set.
 * @param tokenizer its total size is the default of `vocab_size`, and its base vocabulary the minimum: added tokens beyond
 *   a given `vocab_size` are allowed as long as the data does not contain them
 * @throws OPTION_INVALID, TOKENIZER_MISMATCH
 */
export function resolveModel(input: ModelInput, tokenizer?: VocabularySize): ModelOptions {
  const model = parse(trainingSchemas().model, input, 'the model')
  const vocabSize = model.vocab_size ?? (tokenizer && paddedVocabSize(tokenizer.totalSize))
  if (vocabSize === undefined) {
    throw new PenstockError('OPTION_INVALID', 'the model has no vocab_size and no tokenizer to derive it from', {
      path: 'model.vocab_size',
    })
  }
  if (tokenizer !== undefined && vocabSize < tokenizer.vocabSize) {
    throw new PenstockError(
      'TOKENIZER_MISMATCH',
      `the model's vocab_size is ${count(vocabSize)}, but the tokenizer has ${quantity(tokenizer.vocabSize, 'id')}`,
      { path: 'model.vocab_size' },
    )
  }
  const ffnWidth = model.activation === 'gelu' ? 4 * model.width : Math.ceil((model.width * 8) / 3 / 32) * 32
  return {
    ...model,
    vocab_size: vocabSize,
    kv_heads: model.kv_heads ?? model.heads,
    head_dim: model.head_dim ?? model.width / model.heads,
    ffn_width: model.ffn_width ?? ffnWidth,
  }
}

/**
 * Checks that tensor parallelism splits the model evenly.
 * @throws OPTION_INVALID with the width that is not divisible
 */
export function requireDivisible(model: ModelOptions, torch: Pick<TorchOptions, 'tensor_parallel'>): void {
  const message = indivisibleWidth(model, torch)
  if (message !== undefined) throw new PenstockError('OPTION_INVALID', message, { path: 'torch.tensor_parallel' })
}

const SPLIT_WIDTHS = ['heads', 'kv_heads', 'ffn_width', 'vocab_size', 'sequence_length'] as const

/** The problem of a width that tensor parallelism cannot split evenly, if there is one; widths not set are not checked. */
export function indivisibleWidth(
  model: { readonly [Width in (typeof SPLIT_WIDTHS)[number]]?: number | undefined },
  { tensor_parallel: ranks }: Pick<TorchOptions, 'tensor_parallel'>,
): string | undefined {
  const key = SPLIT_WIDTHS.find(width => (model[width] ?? 0) % ranks !== 0)
  return key && `tensor_parallel (${ranks}) must divide the model's ${key} (${model[key]})`
}

function parse<Schema extends z.ZodType>(schema: Schema, input: unknown, owner: string): z.output<Schema> {
  const result = schema.safeParse(input)
  if (result.success) {
    return result.data
  }
  const { path, message } = describeIssue(result.error.issues, input, schema, owner)
  throw new PenstockError('OPTION_INVALID', message, path.length === 0 ? {} : { path: path.join('.') }, result.error)
}
