/**
 * Keeps documents by length and by the tokens they contain; drops and counts the others. Programs can pass a predicate
 * in addition to the options.
 */
import * as z from 'zod'
import type { TokenArray, TokenBatch } from '../formats/batches.js'
import { type TransformStage, transform } from './stream/stage.js'
import { defineStage } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const tokenIds = z.array(z.int().nonnegative()).min(1)

const filterDocumentsOptions = z
  .strictObject({
    min_tokens: z
      .int()
      .nonnegative()
      .default(0)
      .describe('drop documents with fewer tokens, end-of-document token included'),
    max_tokens: z
      .int()
      .positive()
      .optional()
      .describe('drop documents with more tokens, end-of-document token included'),
    with_tokens: tokenIds.optional().describe('drop documents that lack any of these token ids'),
    hash: z
      .strictObject({
        from: z.number().min(0).max(1).default(0).describe('start of the range of hashes, as a fraction'),
        to: z.number().min(0).max(1).default(1).describe('end of the range of hashes, as a fraction'),
      })
      .refine(({ from, to }) => from < to, 'from must be below to')
      .optional()
      .describe(
        'keep the documents whose hash is in a range, to split them by chance: equal documents are always in the same part',
      ),
    without_tokens: tokenIds.optional().describe('drop documents that contain any of these token ids'),
  })
  .refine(({ min_tokens: min, max_tokens: max }) => max === undefined || min <= max, {
    path: ['max_tokens'],
    message: 'max_tokens must not be below min_tokens',
  })
/** `number` is the index of the document in the input, from 0. */
export type FilterDocumentsOptions = z.input<typeof filterDocumentsOptions> & {
  readonly keep?: (tokens: TokenArray, number: number) => boolean
}

export const filterDocumentsStage = defineStage({
  name: 'filter-documents',
  summary: 'drops documents by length or by the tokens they contain',
  accepts: 'tokens',
  emits: 'tokens',
  options: filterDocumentsOptions,
  resumable: true,
  create: filterDocuments,
})

export function filterDocuments(given: FilterDocumentsOptions = {}): TransformStage<TokenBatch, TokenBatch> {
  // A function is no option of a definition. What is not an object is left to the check of the options.
  const { keep, ...rest } = given ?? {}
  const options = typeof given === 'object' && given !== null ? rest : given
  const {
    min_tokens,
    max_tokens = Number.POSITIVE_INFINITY,
    with_tokens,
    without_tokens,
    hash,
  } = parseOptions(filterDocumentsOptions, options, 'filter-documents')
  const isKept = (tokens: TokenArray, number: number): boolean =>
    tokens.length >= min_tokens &&
    tokens.length <= max_tokens &&
    (with_tokens?.every(id => tokens.includes(id)) ?? true) &&
    !(without_tokens?.some(id => tokens.includes(id)) ?? false) &&
    (hash === undefined || isBetween(hashOf(tokens), hash)) &&
    (keep?.(tokens, number) ?? true)
  return transform(filterDocumentsStage, async function* (input, context) {
    let number = 0
    for await (const batch of input) {
      const kept = keepDocuments(batch, tokens => isKept(tokens, number++))
      context.count('filtered', batch.lengths.length - kept.lengths.length)
      yield kept
    }
  })
}

const isBetween = (share: number, { from, to }: { readonly from: number; readonly to: number }): boolean =>
  share >= from && (share < to || to === 1)

/** Hash of the token ids as a fraction in [0, 1): 32-bit FNV-1a, mixed so that its high bits depend on all tokens. */
function hashOf(tokens: TokenArray): number {
  let hash = 0x811c9dc5
  for (const token of tokens) hash = Math.imul(hash ^ token, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

/** Copies the documents that are kept into a new batch. */
function keepDocuments(batch: TokenBatch, isKept: (tokens: TokenArray) => boolean): TokenBatch {
  const tokens = batch.tokens.slice()
  const lengths: number[] = []
  let from = 0
  let to = 0
  for (const length of batch.lengths) {
    const document = batch.tokens.subarray(from, from + length)
    from += length
    if (!isKept(document)) continue
    tokens.set(document, to)
    to += length
    lengths.push(length)
  }
  const keptTokens = tokens.slice(0, to)
  return { ...batch, byteLength: keptTokens.byteLength, tokens: keptTokens, lengths: Uint32Array.from(lengths) }
}
