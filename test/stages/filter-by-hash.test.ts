/** `filter-documents` with `hash` splits documents by chance, and equal ones alike. */
import { Readable } from 'node:stream'
import { expect, it } from 'vitest'
import type { TokenBatch } from '#src/formats/batches'
import { type FilterDocumentsOptions, filterDocuments } from '#src/stages/filter-documents'
import { gather } from './support.js'

/** 2,000 documents of three tokens, each of them twice. */
const documents = Array.from({ length: 2000 }, (_, index) => [index % 1000, 7, (index % 1000) >> 3])

async function kept(hash: FilterDocumentsOptions['hash']): Promise<string[]> {
  const tokens = Uint16Array.from(documents.flat())
  const lengths = new Uint32Array(documents.length).fill(3)
  const batch: TokenBatch = {
    kind: 'tokens',
    number: 0,
    byteLength: tokens.byteLength,
    tokens,
    lengths,
    tokenizer: undefined,
  }
  const [out] = await gather<TokenBatch>(Readable.from([batch]), filterDocuments({ hash }) as never)
  return Array.from(out!.lengths, (_, document) => out!.tokens.subarray(3 * document, 3 * document + 3).join())
}

it('splits documents by chance, and equal documents into the same part', async () => {
  const [first, second] = [await kept({ to: 0.75 }), await kept({ from: 0.75 })]
  expect([...first, ...second].toSorted()).toEqual(documents.map(tokens => tokens.join()).toSorted())
  expect(first.filter(document => second.includes(document))).toEqual([])
  expect(first.length).toBeGreaterThan(1400)
  expect(first.length).toBeLessThan(1600)
})
