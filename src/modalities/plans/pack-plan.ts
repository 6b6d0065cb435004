/** A packing configuration of Modalities (`data pack_encoded_data`) as plain data. */
import * as z from 'zod'
import type { Unsupported } from '../components/build-components.js'
import { type Component, maybe, text, whole } from '../components/option-types.js'
import type { Notice } from '../yaml/deprecated-keys.js'
import {
  type ReadOptions,
  readConfig,
  readSettingsAs,
  settingsNode,
  topComponent,
  unusedNotices,
} from './read-config.js'

export interface HuggingFaceTokenizerPlan {
  readonly kind: 'hugging-face'
  /** A folder with tokenizer.json, or a name on the Hugging Face hub. */
  readonly source: string
  readonly maxLength: number | null
  readonly truncation: boolean
  readonly padding: boolean | string
  readonly specialTokens: Readonly<Record<string, string | readonly string[]>>
}

export type TokenizerPlan = HuggingFaceTokenizerPlan | { readonly kind: 'sentencepiece'; readonly source: string }

export interface ModalitiesPackPlan {
  readonly sourcePath: string
  readonly outputPath: string
  readonly indexPath: string
  /** jq filter that extracts the text of a record. */
  readonly filter: string
  readonly endOfDocument: string
  readonly workers: number
  readonly tokenizer: TokenizerPlan
  readonly notices: readonly Notice[]
  readonly unsupported: readonly Unsupported[]
}

export const packSettings = z.strictObject({
  src_path: text,
  dst_path: maybe(text),
  index_path: maybe(text),
  jq_pattern: text,
  num_cpus: maybe(whole(1)),
  eod_token: text,
  processing_batch_size: whole(1),
  raw_samples_queue_size: whole(1),
  processed_samples_queue_size: whole(1),
  /** Not a setting of Modalities: a variable in its example files, which also occurs in the files it writes. */
  sequence_length: maybe(whole(1)),
})

/**
 * Reads a packing configuration. Batch and queue sizes are validated but not used.
 * @throws CONFIG_INVALID with file, line, column and path
 */
export function readPackPlan(source: string, options: Omit<ReadOptions, 'readTokenCount'>): ModalitiesPackPlan {
  const config = readConfig(source, { ...options, readTokenCount: () => 0 })
  const settings = readSettingsAs(config, packSettings)
  const tokenizer = tokenizerPlan(topComponent(config, 'tokenizer', 'tokenizer'))
  const notices = [...config.notices, ...unusedNotices(config)]
  if (settings.dst_path == null) {
    const place = settingsNode(config).place
    notices.push({
      message: 'dst_path is missing: using src_path with the suffix .pbin',
      path: ['settings'],
      place,
    })
  }
  return {
    sourcePath: settings.src_path,
    outputPath: settings.dst_path ?? withSuffix(settings.src_path, '.pbin'),
    indexPath: settings.index_path ?? withSuffix(settings.src_path, '.idx'),
    filter: settings.jq_pattern,
    endOfDocument: settings.eod_token,
    workers: settings.num_cpus ?? options.cpuCount ?? 1,
    tokenizer,
    notices,
    unsupported: config.builder.unsupported,
  }
}

export function tokenizerPlan({ variantKey, options }: Component): TokenizerPlan {
  if (variantKey === 'pretrained_sp_tokenizer') {
    return { kind: 'sentencepiece', source: options.tokenizer_model_file as string }
  }
  return {
    kind: 'hugging-face',
    source: options.pretrained_model_name_or_path as string,
    maxLength: (options.max_length as number | null | undefined) ?? null,
    truncation: options.truncation as boolean,
    padding: options.padding as boolean | string,
    specialTokens: (options.special_tokens as Record<string, string | string[]> | null | undefined) ?? {},
  }
}

/** Replaces the last suffix of a path, like Python's `Path.with_suffix`. */
function withSuffix(path: string, suffix: string): string {
  return path.replace(/(?<=[^/\\.][^/\\]*)\.[^./\\]+$/, '') + suffix
}
