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

const filterDocumentsOptions = z.strictObject({
  min_tokens: z
    .int()
    .nonnegative()
    .default(0)
    .describe('drop documents with fewer tokens, end-of-document token included'),
  max_tokens: z.int().positive().optional().describe('drop documents with more tokens, end-of-document token included'),
  with_tokens: tokenIds.optional().describe('drop documents that lack any of these token ids'),
  without_tokens: tokenIds.optional().describe('drop documents that contain any of these token ids'),
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

export function filterDocuments({
  keep,
  ...options
}: FilterDocumentsOptions = {}): TransformStage<TokenBatch, TokenBatch> {
  const {
    min_tokens,
    max_tokens = Number.POSITIVE_INFINITY,
    with_tokens,
    without_tokens,
  } = parseOptions(filterDocumentsOptions, options, 'filter-documents')
  const isKept = (tokens: TokenArray, number: number): boolean =>
    tokens.length >= min_tokens &&
    tokens.length <= max_tokens &&
    (with_tokens?.every(id => tokens.includes(id)) ?? true) &&
    !(without_tokens?.some(id => tokens.includes(id)) ?? false) &&
    (keep?.(tokens, number) ?? true)
  return transform('filter-documents', async function* (input, context) {
    let number = 0
    for await (const batch of input) {
      const kept = keepDocuments(batch, tokens => isKept(tokens, number++))
      context.count('filtered', batch.lengths.length - kept.lengths.length)
      yield kept
    }
  })
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
