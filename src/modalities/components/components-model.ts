/** Components for the model, its initialization and its parallelization. */
import * as z from 'zod'
import {
  flag,
  maybe,
  model,
  oneOf,
  part,
  real,
  realAbove,
  realFrom,
  text,
  texts,
  type Variants,
  whole,
} from './option-types.js'

const options = z.strictObject

const rmsNorm = options({ ndim: whole(1), epsilon: realAbove(0).default(1e-6), bias: flag.default(true) })
const layerNorm = options({
  normalized_shape: whole(1),
  eps: realAbove(0).default(1e-6),
  elementwise_affine: flag.default(true),
  bias: flag.default(true),
})
const pytorchRmsNorm = options({ normalized_shape: whole(1), eps: realAbove(0).default(1e-5) })

const norm = z.discriminatedUnion(
  'norm_type',
  [
    options({ norm_type: z.literal('rms_norm'), config: rmsNorm }),
    options({ norm_type: z.literal('layer_norm'), config: layerNorm }),
    options({ norm_type: z.literal('pytorch_rms_norm'), config: pytorchRmsNorm }),
  ],
  'expected one of rms_norm, layer_norm, pytorch_rms_norm',
)

export const layerNorms: Variants = {
  rms_norm: { options: rmsNorm },
  layer_norm: { options: layerNorm },
  pytorch_rms_norm: { options: pytorchRmsNorm },
}

const qkvTransform = z.discriminatedUnion(
  'type_hint',
  [
    options({
      type_hint: z.literal('RotaryTransform'),
      config: options({
        n_embd: whole(0),
        n_head: whole(0),
        seq_length_dim: whole(Number.MIN_SAFE_INTEGER),
        base_freq: whole(10_000),
      }),
    }),
    options({ type_hint: z.literal('IdentityTransform'), config: options({}) }),
  ],
  'expected one of RotaryTransform, IdentityTransform',
)

/** Modalities rejects other sizes, which are slow on tensor cores. */
const multipleOf128 = whole(1).refine(size => size % 128 === 0, 'expected a multiple of 128')

export const gpt2Options = options({
  sample_key: text,
  prediction_key: text,
  use_meta_device: maybe(flag).default(false),
  poe_type: oneOf('ABSOLUTE', 'NOPE'),
  sequence_length: whole(1),
  vocab_size: multipleOf128,
  n_layer: whole(1),
  n_head_q: whole(1),
  n_head_kv: whole(1),
  n_embd: multipleOf128,
  ffn_hidden: multipleOf128,
  dropout: realFrom(0),
  bias: flag,
  attention_config: options({ qkv_transforms: z.array(qkvTransform), qk_norm_config: maybe(norm) }),
  attention_implementation: oneOf('manual', 'pytorch_flash', 'dao_flash'),
  activation_type: oneOf('gelu', 'swiglu'),
  attention_norm_config: norm,
  ffn_norm_config: norm,
  lm_head_norm_config: norm,
  use_weight_tying: flag,
  seed: maybe(whole(Number.MIN_SAFE_INTEGER)),
  enforce_swiglu_hidden_dim_multiple_of: whole(1).default(256),
})
  .refine(({ n_head_q, n_head_kv }) => n_head_q % n_head_kv === 0, {
    error: 'n_head_q must be a multiple of n_head_kv',
    path: ['n_head_kv'],
  })
  .refine(({ n_embd, n_head_q }) => n_embd % n_head_q === 0, {
    error: 'n_embd must be a multiple of n_head_q',
    path: ['n_head_q'],
  })

const precision = oneOf('BF_16', 'BF_16_WORKING', 'FP_16', 'FP_32', 'MIXED_PRECISION_MEGATRON', 'NO_MIXED_PRECISION')
const sharding = oneOf('FULL_SHARD', 'SHARD_GRAD_OP', 'NO_SHARD', 'HYBRID_SHARD', '_HYBRID_SHARD_ZERO2')
const dtype = oneOf('FP_16', 'FP_32', 'BF_16')
const deviceMeshPart = part('device_mesh')

export const models: Variants = {
  gpt2: { options: gpt2Options },
  model_initialized: { options: options({ model, model_initializer: part('model_initialization') }) },
  fsdp1_wrapped: {
    options: options({
      model,
      sync_module_states: flag,
      mixed_precision_settings: precision,
      sharding_strategy: sharding,
      block_names: texts,
    }),
  },
  fsdp2_wrapped: {
    options: options({
      model,
      block_names: texts,
      mixed_precision_settings: options({ param_dtype: dtype, reduce_dtype: dtype }),
      reshard_after_forward: flag.default(true),
      device_mesh: deviceMeshPart,
      layers_per_fsdp_unit: whole(1).default(1),
    }),
  },
  fsdp1_checkpointed: {
    options: options({ checkpoint_loading: part('checkpoint_loading'), checkpoint_path: text, model }),
  },
  activation_checkpointed_fsdp1: { options: options({ model, activation_checkpointing_modules: maybe(texts) }) },
  activation_checkpointed: {
    options: options({
      ac_variant: oneOf(
        'full_activation_checkpointing',
        'selective_layer_activation_checkpointing',
        'selective_op_activation_checkpointing',
      ),
      layers_fqn: text,
      model,
      ac_fun_params: z.union([options({}), options({ ac_freq: whole(1) }), options({ save_ops_keys: texts })]),
    }),
  },
  compiled: {
    options: options({
      model,
      block_names: texts,
      fullgraph: maybe(flag).default(true),
      debug: maybe(flag).default(false),
    }),
  },
  huggingface_pretrained_model: {
    options: options({
      model_type: oneOf('AutoModelForCausalLM', 'AutoModelForMaskedLM'),
      model_name: text,
      prediction_key: text,
      huggingface_prediction_subscription_key: text,
      sample_key: text,
      model_args: z.unknown(),
      kwargs: z.unknown(),
    }).partial({ model_args: true, kwargs: true }),
    unsupported:
      'models of the transformers library cannot be trained; convert the weights and configure the model as gpt2',
  },
  gpt2_tp: { options: options({ model, device_mesh: deviceMeshPart }) },
}

export const modelInitialization: Variants = {
  composed: {
    options: options({
      model_type: oneOf('gpt2', 'coca'),
      weight_init_type: oneOf('plain', 'scaled', 'scaled_embed'),
      mean: real,
      std: z.union([z.literal('auto'), realFrom(0)]),
      hidden_dim: maybe(whole(1)),
      num_layers: maybe(whole(1)),
    })
      .refine(({ std, hidden_dim }) => (std === 'auto') === (hidden_dim != null), {
        error: 'hidden_dim is needed when std is auto, and not allowed otherwise',
        path: ['hidden_dim'],
      })
      .refine(({ weight_init_type, num_layers }) => (weight_init_type === 'plain') === (num_layers == null), {
        error: 'num_layers is needed for scaled and scaled_embed, and not allowed for plain',
        path: ['num_layers'],
      }),
  },
}

const degree = whole(-1).refine(value => value !== 0, 'expected -1 (the remaining ranks) or at least 1')

const mesh = {
  device_type: text.default('cuda'),
  data_parallel_replicate_degree: degree.default(1),
  data_parallel_shard_degree: degree,
  tensor_parallel_degree: whole(1).default(1),
  pipeline_parallel_degree: whole(1).default(1),
  context_parallel_degree: whole(1).default(1),
  enable_loss_parallel: maybe(flag).default(false),
  world_size: whole(1),
}

export type MeshOptions = z.output<z.ZodObject<typeof mesh>>

/** Ranks along each mesh dimension; a degree of -1 is the world size divided by the other degrees. */
export function meshDegrees(mesh: MeshOptions) {
  const tp = mesh.tensor_parallel_degree
  const pp = mesh.pipeline_parallel_degree
  const cp = mesh.context_parallel_degree
  const rest = (other: number) => Math.floor(mesh.world_size / (other * tp * pp * cp))
  const replicate = mesh.data_parallel_replicate_degree
  const shard = mesh.data_parallel_shard_degree
  const dp_shard = shard === -1 ? rest(replicate) : shard
  return { dp_shard, dp_replicate: replicate === -1 ? rest(dp_shard) : replicate, tp, pp, cp }
}

/** The index of a rank along one mesh dimension; ranks are numbered with tensor parallelism innermost. */
export function meshRank(mesh: MeshOptions, method: keyof ReturnType<typeof meshDegrees>, rank: number): number {
  const degrees = meshDegrees(mesh)
  const innermostFirst = ['tp', 'cp', 'dp_shard', 'dp_replicate', 'pp'] as const
  const inner = innermostFirst.slice(0, innermostFirst.indexOf(method))
  return Math.floor(rank / inner.reduce((product, name) => product * degrees[name], 1)) % degrees[method]
}

export const deviceMesh: Variants = {
  default: {
    options: options(mesh)
      .refine(mesh => mesh.data_parallel_shard_degree > 0 || mesh.data_parallel_replicate_degree > 0, {
        error: 'only one degree may be -1',
        path: ['data_parallel_replicate_degree'],
      })
      .refine(
        mesh => Object.values(meshDegrees(mesh)).reduce((product, ranks) => product * ranks) === mesh.world_size,
        {
          error: 'the product of all degrees must be world_size',
          path: ['world_size'],
        },
      ),
  },
}
