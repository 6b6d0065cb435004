/**
 * Exports a tokenizer so that AutoTokenizer of transformers gives the ids that the model was trained on. A tokenizer.json is
 * loaded as it is, by PreTrainedTokenizerFast: model-specific classes would rebuild parts of it, for example to add a begin
 * token that its template already adds.
 */

import { basename, dirname, join } from 'node:path'
import { toPenstockError } from '../../errors.js'
import { readAll } from '../../files/read-at.js'
import { copyOver, writeOver } from '../../files/replace-file.js'
import type { SpecialTokenIds } from '../../training/hugging-face/hugging-face.js'
import { askTokenizer, type TokenizerThread } from '../../workers/tokenizer/tokenizer-thread.js'

type Json = Readonly<Record<string, unknown>>

/** Special tokens by role, under the names of transformers. */
type Roles = Readonly<Partial<Record<(typeof ROLE_NAMES)[number], string>>>

export interface TokenizerExport {
  readonly path: string
  readonly sha256: string
  readonly ids: SpecialTokenIds
  /** Content of tokenizer_config.json. */
  readonly config: Json
}

const ROLE_NAMES = ['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const
const COPIED_KEYS = ['chat_template', 'padding_side', 'truncation_side']
const CHAT_TEMPLATE = 'chat_template.jinja'

/**
 * @param path a tokenizer.json or .model, or its folder; a tokenizer_config.json next to it gives further special tokens
 * @param endOfDocument the token that ends the documents of the training data, by id or content
 * @throws FILE_MISSING, TOKENIZER_MISMATCH, and the errors of loading a tokenizer
 */
export function planTokenizerExport(
  path: string,
  endOfDocument: number | string | undefined,
  maxLength: number,
): Promise<TokenizerExport> {
  return askTokenizer(path, async tokenizer => {
    const folder = dirname(tokenizer.path)
    const source = { ...(await readJson(join(folder, 'special_tokens_map.json'))) }
    Object.assign(source, await readJson(join(folder, 'tokenizer_config.json')))
    const { ids, roles } = await specialTokens(tokenizer, source, endOfDocument)
    const isModel = tokenizer.path.endsWith('.model')
    const config = {
      ...(isModel ? sentencePieceOptions : await fastOptions(tokenizer.path)),
      ...Object.fromEntries(COPIED_KEYS.filter(key => key in source).map(key => [key, source[key]])),
      ...roles,
      ...(await additionalTokens(tokenizer, source)),
      model_max_length: maxLength,
      // The models do not take the token_type_ids that PreTrainedTokenizerFast returns by default.
      model_input_names: ['input_ids', 'attention_mask'],
      clean_up_tokenization_spaces: false,
    }
    return { path: tokenizer.path, sha256: tokenizer.sha256, ids, config }
  })
}

/** Writes the tokenizer under the name that transformers expects, and its configuration. */
export async function writeTokenizer(folder: string, { path, config }: TokenizerExport): Promise<void> {
  await copyOver(path, join(folder, path.endsWith('.model') ? 'tokenizer.model' : 'tokenizer.json'))
  await writeOver(join(folder, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`)
  const template = join(dirname(path), CHAT_TEMPLATE)
  const text = await readIfExists(template)
  if (text !== undefined) await writeOver(join(folder, basename(template)), text)
}

/** Like SentencePiece's own library, adds no begin or end token. */
const sentencePieceOptions: Json = {
  tokenizer_class: 'LlamaTokenizer',
  add_bos_token: false,
  add_eos_token: false,
  legacy: true,
}

/** PreTrainedTokenizerFast overrides `add_prefix_space` of the pre-tokenizer with its own option. */
async function fastOptions(path: string): Promise<Json> {
  const { add_prefix_space } = ((await readJson(path))?.pre_tokenizer ?? {}) as Json
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...(typeof add_prefix_space === 'boolean' && { add_prefix_space }),
  }
}

/**
 * The end token of the training data, the begin token of the template, and otherwise the tokens of the source configuration
 * that the tokenizer has.
 */
async function specialTokens(
  tokenizer: TokenizerThread,
  source: Json,
  endOfDocument: number | string | undefined,
): Promise<{ ids: SpecialTokenIds; roles: Roles }> {
  const known = new Map<string, { readonly token: string; readonly id: number }>()
  for (const role of ROLE_NAMES) {
    const token = contentOf(source[role])
    const id = token === undefined ? undefined : (await tokenizer.idsOf([token]))[0]
    if (token !== undefined && id !== undefined) known.set(role, { token, id })
  }
  const template = await tokenizer.encodePrompt('')
  const bos = template.length === 1 ? template[0] : known.get('bos_token')?.id
  const eos = typeof endOfDocument === 'string' ? await tokenizer.idOf(endOfDocument) : endOfDocument
  const ids: SpecialTokenIds = { bos, eos: eos ?? known.get('eos_token')?.id, pad: known.get('pad_token')?.id }
  const named = { bos_token: ids.bos, eos_token: ids.eos, unk_token: known.get('unk_token')?.id, pad_token: ids.pad }
  const roles: Record<string, string> = {}
  for (const [role, id] of Object.entries(named)) {
    const token = id === undefined ? undefined : await contentOfId(tokenizer, id)
    if (token !== undefined) roles[role] = token
  }
  return { ids, roles }
}

/** Undefined for an id whose text is not that of a token, such as a part of a character. */
async function contentOfId(tokenizer: TokenizerThread, id: number): Promise<string | undefined> {
  const token = await tokenizer.decode([id])
  return (await tokenizer.idsOf([token]))[0] === id ? token : undefined
}

/** Further special tokens of the source configuration; transformers would add those that the tokenizer lacks. */
async function additionalTokens(tokenizer: TokenizerThread, source: Json): Promise<Json> {
  const listed = Array.isArray(source.additional_special_tokens) ? source.additional_special_tokens : []
  const tokens = listed.map(contentOf).filter(token => token !== undefined)
  const ids = await tokenizer.idsOf(tokens)
  const found = tokens.filter((_, place) => ids[place] !== undefined)
  return found.length === 0 ? {} : { additional_special_tokens: found }
}

/** A token is a string or, in other files, an object with its content. */
function contentOf(token: unknown): string | undefined {
  const content = typeof token === 'object' && token !== null ? (token as Json).content : token
  return typeof content === 'string' ? content : undefined
}

/** The object in a JSON file; undefined if the file is missing or contains something else. */
async function readJson(path: string): Promise<Json | undefined> {
  const text = (await readIfExists(path))?.toString()
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined
  } catch {
    return undefined
  }
}

/** Undefined for a missing file. @throws FILE_UNREADABLE */
async function readIfExists(path: string): Promise<Buffer | undefined> {
  return readAll(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  })
}
