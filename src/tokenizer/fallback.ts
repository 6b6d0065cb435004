/**
 * Tokenizers that our engines do not support (Unigram, WordPiece, unusual normalizers) run on `@huggingface/tokenizers`,
 * loaded on demand: about a hundred times slower; `engineInfo` gives the reason.
 */
import { PenstockError } from '../errors.js'
import { section } from './file/tokenizer-fields.js'
import { parsedSource, type TokenizerSource } from './file/tokenizer-json.js'
import type { TemplateTokens } from './fit-length.js'
import { type EngineInfo, type LoadOptions, loadTokenizer, type Tokenizer } from './tokenizer.js'

/** The part of `Tokenizer` of `@huggingface/tokenizers` that is used here. */
interface HuggingFaceTokenizer {
  encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[] }
  decode(ids: number[], options?: { skip_special_tokens?: boolean }): string
  token_to_id(token: string): number | undefined
  get_vocab(withAddedTokens?: boolean): Map<string, number>
}

/**
 * Like `loadTokenizer`, with another library for unsupported files. It runs the regular expressions of the file unchecked,
 * and these may take exponential time: load untrusted files in a worker that can be terminated.
 *
 * @throws TOKENIZER_INVALID, PEER_MISSING; UNSUPPORTED for dropout, which is random
 */
export async function loadAnyTokenizer(json: TokenizerSource, options: LoadOptions = {}): Promise<Tokenizer> {
  try {
    return loadTokenizer(json, options)
  } catch (error) {
    if (!(error instanceof PenstockError) || error.code !== 'UNSUPPORTED' || asksForDropout(json)) throw error
    return new FallbackTokenizer(await loadHuggingFace(json), error.message)
  }
}

function asksForDropout(json: TokenizerSource): boolean {
  const dropout = section(parsedSource(json), 'model')?.dropout
  return typeof dropout === 'number' && dropout > 0
}

async function loadHuggingFace(json: TokenizerSource): Promise<HuggingFaceTokenizer> {
  const library = await import('@huggingface/tokenizers').catch(error => {
    const remedy = 'this tokenizer needs the package @huggingface/tokenizers: npm install @huggingface/tokenizers'
    throw new PenstockError('PEER_MISSING', remedy, {}, error)
  })
  try {
    return new library.Tokenizer(parsedSource(json), { clean_up_tokenization_spaces: false })
  } catch (error) {
    throw new PenstockError('TOKENIZER_INVALID', '@huggingface/tokenizers refuses this tokenizer.json', {}, error)
  }
}

class FallbackTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly totalSize: number
  readonly engineInfo: EngineInfo
  readonly templateTokens: TemplateTokens
  private readonly library: HuggingFaceTokenizer
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(library: HuggingFaceTokenizer, why: string) {
    this.library = library
    this.engineInfo = { fast: false, why: `by @huggingface/tokenizers, because ${why}` }
    this.vocabSize = library.get_vocab(false).size
    let highest = -1
    for (const id of library.get_vocab(true).values()) highest = Math.max(highest, id)
    this.totalSize = highest + 1
    this.templateTokens = this.findTemplateTokens()
  }

  get how(): EngineInfo {
    return this.engineInfo
  }

  get around(): TemplateTokens {
    return this.templateTokens
  }

  /** The library does not expose them: encoding an empty text shows the template tokens, a short one their position. */
  private findTemplateTokens(): TemplateTokens {
    const empty = this.encode('')
    const some = this.encode('a')
    const differs = empty.findIndex((id, at) => id !== some[at])
    const before = differs < 0 ? empty.length : differs
    return { before, after: empty.length - before }
  }

  idOf(token: string): number | undefined {
    return this.library.token_to_id(token)
  }

  encode(text: string): Uint32Array {
    return Uint32Array.from(this.library.encode(text).ids)
  }

  decode(ids: Iterable<number>, options: { readonly skipSpecialTokens?: boolean } = {}): string {
    const list = [...ids]
    return list.length === 0
      ? ''
      : this.library.decode(list, { skip_special_tokens: options.skipSpecialTokens === true })
  }

  encodeBytes(bytes: Uint8Array, start = 0, end = bytes.length): Uint32Array {
    return this.encode(this.decoder.decode(bytes.subarray(start, end)))
  }

  encodeBatch(bytes: Uint8Array, offsets: Uint32Array): { tokens: Uint16Array | Uint32Array; lengths: Uint32Array } {
    const documents = Array.from({ length: Math.max(offsets.length - 1, 0) }, (_, i) =>
      this.encodeBytes(bytes, offsets[i]!, offsets[i + 1]!),
    )
    const lengths = Uint32Array.from(documents, ids => ids.length)
    const total = lengths.reduce((sum, length) => sum + length, 0)
    const tokens = this.totalSize <= 0x10000 ? new Uint16Array(total) : new Uint32Array(total)
    let at = 0
    for (const ids of documents) {
      tokens.set(ids, at)
      at += ids.length
    }
    return { tokens, lengths }
  }
}
