/** Components for data: tokenizers, datasets, samplers, collators and loaders. */
import * as z from 'zod'
import { flag, maybe, oneOf, part, real, text, texts, type Variants, whole } from './option-types.js'

const options = z.strictObject
const dataset = part('dataset')

/** Modalities allows no other value: its progress would include samples that no rank trains on. */
const dropLast = z.literal(true).default(true)

export const tokenizer: Variants = {
  pretrained_hf_tokenizer: {
    options: options({
      pretrained_model_name_or_path: text,
      max_length: maybe(whole(0)),
      truncation: flag.default(false),
      padding: z.union([flag, text]).default(false),
      special_tokens: maybe(z.record(text, z.union([text, texts]))),
    }),
  },
  pretrained_sp_tokenizer: { options: options({ tokenizer_model_file: text }) },
}

export const datasets: Variants = {
  packed_mem_map_dataset_continuous: {
    options: options({
      raw_data_path: text,
      sequence_length: whole(2),
      sample_key: text,
      reuse_last_target: flag.default(true),
    }),
  },
  packed_mem_map_dataset_megatron: {
    options: options({ raw_data_path: text, block_size: whole(2), sample_key: text }),
    unsupported: 'Modalities cannot build it either; use packed_mem_map_dataset_continuous',
  },
  mem_map_dataset: {
    options: options({
      raw_data_path: text,
      index_path: maybe(text),
      tokenizer: part('tokenizer'),
      jq_pattern: text,
      sample_key: text,
    }),
    unsupported: 'its samples have no keys, so no collator of Modalities accepts them either; pack the text first',
  },
  dummy_dataset: {
    options: options({
      num_samples: whole(0),
      sample_definition: z.array(
        options({ sample_key: text, sample_shape: z.array(whole(0)), sample_type: oneOf('float', 'int') }),
      ),
    }),
    unsupported: 'random samples, different on each run',
  },
  combined: {
    options: options({ datasets: z.array(dataset) }),
  },
}

const resumable = {
  dataset,
  epoch: whole(0).default(0),
  shuffle: maybe(flag).default(false),
  seed: maybe(whole(Number.MIN_SAFE_INTEGER)).default(0),
  drop_last: dropLast,
  skip_num_global_samples: whole(0).default(0),
}

export const sampler: Variants = {
  resumable_distributed_sampler: { options: options({ ...resumable, rank: whole(0), num_replicas: whole(0) }) },
  resumable_distributed_multi_dim_sampler: {
    options: options({
      ...resumable,
      device_mesh: part('device_mesh'),
      data_parallel_key: oneOf('dp_replicate', 'dp_shard', 'cp', 'tp', 'pp'),
    }),
  },
  distributed_sampler: {
    options: options({
      rank: whole(0),
      num_replicas: whole(0),
      shuffle: flag,
      dataset,
      seed: maybe(whole(Number.MIN_SAFE_INTEGER)).default(0),
      drop_last: dropLast,
    }),
  },
  sequential_sampler: { options: options({ data_source: dataset }) },
}

export const batchSampler: Variants = {
  default: {
    options: options({ sampler: part('sampler', 'batch_sampler'), batch_size: whole(1), drop_last: dropLast }),
  },
}

const collator = part('collate_fn')

export const collateFn: Variants = {
  gpt_2_llm_collator: { options: options({ sample_key: text, target_key: text }) },
  mask_loss_collator_wrapper: {
    options: options({
      wrapped_collate_fn: collator,
      target_keys_to_mask: texts,
      loss_ignore_index: whole(Number.MIN_SAFE_INTEGER),
      mask_tokens: options({ b_include_to_loss_token: text, e_include_to_loss_token: text }),
      tokenizer: part('tokenizer'),
    }),
  },
  coca_collator: {
    options: options({ sample_keys: texts, target_keys: texts, text_sample_key: text, text_target_key: text }),
    unsupported: 'multimodal data (images and text)',
  },
}

export const dataLoader: Variants = {
  default: {
    options: options({
      dataloader_tag: text,
      dataset,
      batch_sampler: part('batch_sampler', 'sampler'),
      collate_fn: maybe(collator),
      num_workers: whole(0),
      pin_memory: flag,
    }),
  },
}

export const datasetBatchGenerator: Variants = {
  random: {
    options: options({
      dims: z.record(text, whole(Number.MIN_SAFE_INTEGER)),
      data_type: oneOf('float32', 'bfloat16', 'int64'),
      min_val: whole(Number.MIN_SAFE_INTEGER),
      max_val: whole(Number.MIN_SAFE_INTEGER),
    }),
  },
}

export const inferenceComponent: Variants = {
  text: {
    options: options({
      model: part('model'),
      tokenizer: part('tokenizer'),
      prompt_template: text,
      sequence_length: whole(1),
      temperature: maybe(real).default(1),
      eod_token: maybe(text).default('<eod>'),
      device: z.union([text, whole(0)]),
    }),
  },
}
