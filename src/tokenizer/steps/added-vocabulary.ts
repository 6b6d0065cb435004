/** The added tokens of a tokenizer.json, with ids and collisions as in the Rust library. */
import { PenstockError } from '../../errors.js'
import type { Vocabulary } from '../engine/vocabulary.js'
import type { AddedToken } from './added-tokens.js'
import type { Growth } from './normalize.js'

/** Limit for the growth of all added tokens under normalization, in characters, plus a multiple of their length. */
const [MAX_NORMALIZED, MAX_TIMES] = [1 << 20, 16]

/** One step of the normalization of added tokens. */
export interface ContentStep {
  readonly growth: Growth
  readonly normalize: (text: string) => string
}

export class AddedVocabulary {
  /** One token per id, the last one in the file. */
  readonly tokens: readonly AddedToken[]
  readonly highestId: number
  private readonly idsByContent = new Map<string, number>()
  private readonly tokensById = new Map<number, AddedToken>()
  /** Contents after normalization, where they differ. */
  private readonly normalized = new Map<number, string>()
  private readonly special = new Set<string>()

  /**
   * @param entries the tokens in the order of the file; their ids are ignored
   * @param vocabSize tokens of the model
   * @throws TOKENIZER_INVALID if the normalizer makes them too long, UNSUPPORTED if it empties one that takes white space
   */
  constructor(
    entries: readonly Omit<AddedToken, 'id'>[],
    vocabulary: Vocabulary,
    vocabSize: number,
    normalizer: readonly ContentStep[],
  ) {
    const normalize = contentNormalizer(entries, normalizer)
    let nextId = vocabSize
    for (const [at, entry] of entries.entries()) {
      const { content } = entry
      if (content === '') continue
      const id = this.idsByContent.get(content) ?? vocabulary.get(content) ?? nextId++
      const searched = entry.normalized ? normalize(content) : content
      if (searched === '' && (entry.leftStrip || entry.rightStrip)) {
        const problem = 'lstrip or rstrip of a token whose content is empty after normalization'
        throw new PenstockError('UNSUPPORTED', `unsupported tokenizer.json: added_tokens[${at}]: ${problem}`)
      }
      if (searched !== content) this.normalized.set(id, searched)
      this.idsByContent.set(content, id)
      if (entry.special) this.special.add(content)
      this.tokensById.set(id, { ...entry, id })
    }
    this.tokens = [...this.tokensById.values()]
    this.highestId = this.tokens.reduce((highest, { id }) => Math.max(highest, id), -1)
  }

  idOf(content: string): number | undefined {
    return this.idsByContent.get(content)
  }

  /** Spelling of a token in the text in which it is searched for. */
  searchedTextOf(token: AddedToken): string {
    return token.normalized ? (this.normalized.get(token.id) ?? token.content) : token.content
  }

  /** Text of an id for decoding; `undefined` if it is not an added token. */
  textOf(id: number): string | undefined {
    const token = this.tokensById.get(id)
    return token === undefined ? undefined : (this.normalized.get(id) ?? token.content)
  }

  isSpecial(text: string): boolean {
    return this.special.has(text)
  }
}

function contentNormalizer(
  entries: readonly Omit<AddedToken, 'id'>[],
  steps: readonly ContentStep[],
): (content: string) => string {
  let room = entries.reduce((sum, { content }) => sum + MAX_TIMES * content.length, MAX_NORMALIZED)
  return content =>
    steps.reduce((text, { growth, normalize }) => {
      const result = text.length * growth.perCharacter > room ? undefined : normalize(text)
      room -= result?.length ?? room + 1
      if (room < 0) throw new PenstockError('TOKENIZER_INVALID', 'the normalizer makes the added tokens too long')
      return result ?? ''
    }, content)
}
