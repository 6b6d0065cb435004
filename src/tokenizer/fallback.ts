/**
 * Tokenizers that our own engines do not follow exactly (Unigram, WordPiece, unusual normalizers) run on
 * `@huggingface/tokenizers`, loaded only then: some hundred times slower, and `how` says why.
 */
import { PenstockError } from '../errors.js'
import { section } from './file/tokenizer-fields.js'
import { parsedSource, type TokenizerSource } from './file/tokenizer-json.js'
import type { TemplateTokens } from './fit-length.js'
import { type EngineInfo, type LoadOptions, loadTokenizer, type Tokenizer } from './tokenizer.js'

/** What we use of the class `Tokenizer` of `@huggingface/tokenizers`. */
interface HuggingFaceTokenizer {
  encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[] }
  decode(ids: number[], options?: { skip_special_tokens?: boolean }): string
  token_to_id(token: string): number | undefined
  get_vocab(withAddedTokens?: boolean): Map<string, number>
}

/**
 * Like `loadTokenizer`, and takes another library for what our engines refuse. That one runs the regular expressions of
 * the file as they are, and one may take for ever: load files that you do not trust in a worker that you can end.
 *
 * @throws TOKENIZER_INVALID, PEER_MISSING; UNSUPPORTED for dropout, which no library can make repeatable
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

  /** The library does not tell: what an empty text has is around every text, and a text shows where it goes. */
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
