/**
 * Lets documents through by their tokens and drops the others, which are counted. Definitions choose by length and by
 * tokens; a program may give a function of its own beside that.
 */
import * as z from 'zod'
import type { TokenArray, TokenBatch } from '../formats/batches.js'
import { type TransformStage, transform } from './stream/stage.js'
import { defineStage } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const tokenIds = z.array(z.int().nonnegative()).min(1)

const filterDocumentsOptions = z.strictObject({
  min_tokens: z.int().nonnegative().default(0).describe('drop documents of fewer tokens, end-of-document included'),
  max_tokens: z.int().positive().optional().describe('drop documents of more tokens'),
  with_tokens: tokenIds.optional().describe('drop documents that lack one of these token ids'),
  without_tokens: tokenIds.optional().describe('drop documents that have one of these token ids'),
})
/** `number` counts the documents that came, from 0. */
export type FilterDocumentsOptions = z.input<typeof filterDocumentsOptions> & {
  readonly keep?: (tokens: TokenArray, number: number) => boolean
}

export const filterDocumentsStage = defineStage({
  name: 'filter-documents',
  summary: 'drops documents by their length or by tokens in them',
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
      const kept = keptOf(batch, tokens => isKept(tokens, number++))
      context.count('filtered', batch.lengths.length - kept.lengths.length)
      yield kept
    }
  })
}

/** The batch without the other documents, in memory of its own. */
function keptOf(batch: TokenBatch, isKept: (tokens: TokenArray) => boolean): TokenBatch {
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
