/**
 * Translates a tokenizer component of Modalities to options of `tokenize-batches`. Follows `AutoTokenizer` of
 * transformers 4, which reads tokenizer_config.json and special_tokens_map.json in addition to tokenizer.json.
 */

import { dirname, join } from 'node:path'
import { type ErrorCode, PenstockError } from '../errors.js'
import { readAll } from '../files/read-at.js'
import type { TokenizeBatchesOptions } from '../stages/tokenize-batches.js'
import { refuseDepth } from '../tokenizer/file/limits.js'
import { tokenizerFileAt } from '../workers/tokenizer/tokenizer-setup.js'
import { askTokenizer } from '../workers/tokenizer/tokenizer-thread.js'
import type { HuggingFaceTokenizerPlan, ModalitiesPackPlan, TokenizerPlan } from './plans/pack-plan.js'

export type Tokenizing = Pick<TokenizeBatchesOptions, 'tokenizer' | 'special_tokens' | 'fit_length'>

/**
 * Tokenization options of a packing configuration.
 * @throws before anything is written: CONFIG_INVALID, FILE_MISSING, TOKENIZER_INVALID, TOKENIZER_MISMATCH, UNSUPPORTED
 */
export async function packTokenizing({ tokenizer, unsupported }: ModalitiesPackPlan): Promise<Tokenizing> {
  const [first] = unsupported
  if (first !== undefined) throw refusal('UNSUPPORTED', `${first.what} is not supported (${first.why})`)
  return tokenizingOf(tokenizer)
}

/** @throws CONFIG_INVALID, FILE_MISSING, TOKENIZER_INVALID, TOKENIZER_MISMATCH, UNSUPPORTED */
export async function tokenizingOf(plan: TokenizerPlan): Promise<Tokenizing> {
  if (plan.kind === 'sentencepiece') return { tokenizer: plan.source }
  const files = await readFiles(plan.source)
  const specialTokens = [...new Set([...tokensOfFolder(files), ...(await tokensOfPlan(plan, files))])]
  const fit = fitOf(plan, files)
  return {
    tokenizer: plan.source,
    ...(specialTokens.length === 0 ? {} : { special_tokens: specialTokens }),
    ...(fit === undefined ? {} : { fit_length: fit }),
  }
}

interface TokenFlags {
  readonly content: string
  readonly single_word?: boolean
  readonly lstrip?: boolean
  readonly rstrip?: boolean
  readonly normalized?: boolean
  readonly special?: boolean
}

type NamedToken = string | TokenFlags

/** The fields of tokenizer.json that are read here. */
interface TokenizerJson {
  readonly added_tokens?: readonly TokenFlags[] | null
  readonly padding?: { readonly pad_token?: string; readonly direction?: string } | null
  readonly truncation?: { readonly direction?: string } | null
}

interface TokenizerConfig {
  readonly tokenizer_class?: string
  readonly added_tokens_decoder?: Readonly<Record<string, TokenFlags>>
  readonly model_max_length?: number
  readonly padding_side?: Side
  readonly truncation_side?: Side
  readonly additional_special_tokens?: readonly NamedToken[] | null
}

type Side = 'left' | 'right'

interface Files {
  readonly json: TokenizerJson
  readonly config: TokenizerConfig
  /** Special tokens by their names: `pad_token` and the like. */
  readonly named: ReadonlyMap<string, NamedToken>
  readonly additional: readonly NamedToken[]
  readonly path: string
}

/** In the order in which ids are assigned. */
const TOKEN_NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token']
const MORE_TOKENS = 'additional_special_tokens'

async function readFiles(source: string): Promise<Files> {
  const path = await tokenizerFileAt(source)
  const json: TokenizerJson = path.endsWith('.model') ? {} : await jsonAt(path)
  const config = (await jsonAt(join(dirname(path), 'tokenizer_config.json'))) as TokenizerConfig
  const map = config.added_tokens_decoder ? {} : await jsonAt(join(dirname(path), 'special_tokens_map.json'))
  const given = (name: string) => (config as Readonly<Record<string, unknown>>)[name] || map[name]
  const named = TOKEN_NAMES.flatMap(name => {
    const token = (given(name) || (name === 'pad_token' && json.padding?.pad_token)) as NamedToken | undefined
    return token ? [[name, token] as const] : []
  })
  const additional = (given(MORE_TOKENS) ?? []) as readonly NamedToken[]
  return { json, config, named: new Map(named), additional, path }
}

/** Returns an empty object if the file does not exist. */
async function jsonAt(path: string): Promise<Readonly<Record<string, unknown>>> {
  const text = String(await readAll(path).catch(() => '{}'))
  try {
    refuseDepth(text)
    return JSON.parse(text) as Readonly<Record<string, unknown>>
  } catch (error) {
    const message = error instanceof PenstockError ? error.message : 'the file is not JSON'
    throw new PenstockError('TOKENIZER_INVALID', message, { file: path }, error)
  }
}

const contentOf = (token: NamedToken): string => (typeof token === 'string' ? token : token.content)

/** Special tokens of the other two files that tokenizer.json does not list; they are added when the tokenizer is loaded. */
function tokensOfFolder({ json, config, named, additional, path }: Files): string[] {
  const listed = new Map(json.added_tokens?.map(token => [token.content, token]))
  const decoder = Object.entries(config.added_tokens_decoder ?? {})
    .sort(([first], [second]) => Number(first) - Number(second))
    .map(([, token]) => token)
    .filter(token => !hasSameFlags(token, listed.get(token.content)))
  const names = [...named.values(), ...additional].filter(token => !listed.has(contentOf(token)))
  return [...decoder, ...names].map(token => {
    if (typeof token !== 'string' && FLAGS.some(flag => token[flag] === true)) {
      const message = `the token ${token.content} of tokenizer_config.json has flags but is missing from tokenizer.json: add it to tokenizer.json`
      throw new PenstockError('UNSUPPORTED', message, { file: path })
    }
    return contentOf(token)
  })
}

const FLAGS = ['single_word', 'lstrip', 'rstrip', 'normalized'] as const

function hasSameFlags(token: TokenFlags, other: TokenFlags | undefined): boolean {
  return other !== undefined && [...FLAGS, 'special' as const].every(flag => token[flag] === other[flag])
}

/**
 * Special tokens of the configuration. They must exist in the vocabulary, as in Modalities, because the embedding table
 * is not resized. Tokens that tokenizer.json already lists with the same flags are omitted.
 */
async function tokensOfPlan({ source, specialTokens }: HuggingFaceTokenizerPlan, files: Files): Promise<string[]> {
  const path = 'tokenizer.config.special_tokens'
  const own = files.additional.map(contentOf)
  const wanted = Object.entries(specialTokens).flatMap(([name, value]) => {
    if (name === MORE_TOKENS && typeof value !== 'string') return value.filter(token => !own.includes(token))
    if (TOKEN_NAMES.includes(name) && typeof value === 'string') return [value]
    const expected = `${TOKEN_NAMES.join(', ')} with a string, or ${MORE_TOKENS} with a list`
    throw refusal('CONFIG_INVALID', `special_tokens: expected ${expected}, found ${name}`, path)
  })
  if (wanted.length === 0) return []
  const ids = await askTokenizer(source, tokenizer => tokenizer.idsOf(wanted), tokensOfFolder(files))
  const missing = wanted.find((_, place) => ids[place] === undefined)
  if (missing !== undefined) {
    const message = `the token ${missing} is not in the vocabulary: special_tokens accepts only tokens of tokenizer.json`
    throw refusal('TOKENIZER_MISMATCH', message, path)
  }
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  return wanted.filter(content => {
    const listed = files.json.added_tokens?.find(token => token.content === content)
    return !hasSameFlags({ content, ...plain }, listed)
  })
}

/** transformers treats greater lengths as no limit. */
const MAX_LENGTH = 1e20
const LEFT_PADDED = ['CodeLlama', 'Cohere', 'Gemma', 'Llama', 'XLNet']

function fitOf(plan: HuggingFaceTokenizerPlan, { json, config, named }: Files): Tokenizing['fit_length'] {
  const { model_max_length: ownLength = Number.POSITIVE_INFINITY } = config
  const maxLength = plan.maxLength ?? (ownLength > MAX_LENGTH ? undefined : ownLength)
  const padding = plan.padding === true ? 'longest' : plan.padding === false ? 'do_not_pad' : plan.padding
  if (!['longest', 'max_length', 'do_not_pad'].includes(padding)) {
    const message = `padding: expected true, false, longest, max_length or do_not_pad, found ${padding}`
    throw refusal('CONFIG_INVALID', message, 'tokenizer.config.padding')
  }
  const padsToLength = padding === 'max_length' && maxLength !== undefined
  const padToken = contentOf((plan.specialTokens.pad_token as string | undefined) ?? named.get('pad_token') ?? '')
  if ((padding === 'longest' || padsToLength) && padToken === '') {
    const message = 'padding needs a pad_token: set pad_token under special_tokens'
    throw refusal('CONFIG_INVALID', message, 'tokenizer.config.padding')
  }
  if (maxLength === undefined || !(plan.truncation || padsToLength)) return undefined
  const className = config.tokenizer_class?.replace(/Tokenizer(Fast)?$/, '') ?? ''
  const classSide = LEFT_PADDED.includes(className) ? 'left' : 'right'
  return {
    max_length: maxLength,
    ...(plan.truncation ? { truncate: config.truncation_side ?? sideOf(json.truncation?.direction) ?? 'right' } : {}),
    ...(padsToLength
      ? { pad: config.padding_side ?? sideOf(json.padding?.direction) ?? classSide, pad_token: padToken }
      : {}),
  }
}

function sideOf(direction: string | undefined): Side | undefined {
  return direction === undefined ? undefined : direction.toLowerCase() === 'left' ? 'left' : 'right'
}

function refusal(code: ErrorCode, message: string, path = 'tokenizer.config'): PenstockError {
  return new PenstockError(code, message, { path })
}
