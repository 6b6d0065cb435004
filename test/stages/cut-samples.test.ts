import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect, it } from 'vitest'
import type { SampleBatch, TokenBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { cutSamples } from '#src/stages/samples/cut-samples'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import { gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const tokens = Uint16Array.from({ length: 1003 }, (_, index) => (index * 31) % 997)
const tokenizer = { sha256: '0'.repeat(64), vocabSize: 997, endOfDocumentId: 5 }

it.each([1, 2, 3, 7, 64, 1003])('produces the same blocks as the packed file from batches of %i tokens', async size => {
  const path = join(folder, 'data.pbin')
  const header = encodePbinHeader({ dataBytes: tokens.byteLength, tokenBytes: 2 })
  writeFileSync(path, Buffer.concat([header, new Uint8Array(tokens.buffer), writePairList([[0, tokens.byteLength]])]))
  const shape = { sequence_length: 16, batch_size: 4 }
  const expected = await gather<SampleBatch>(shuffleSamples({ path, ...shape, shuffle: 'none' }))
  const batches: TokenBatch[] = []
  for (let start = 0; start < tokens.length; start += size) {
    const part = tokens.subarray(start, start + size)
    const lengths = Uint32Array.of(part.length)
    const common = {
      kind: 'tokens',
      number: batches.length,
      byteLength: part.byteLength,
      tokenizer,
    } as const
    batches.push({ ...common, tokens: part, lengths })
  }
  const found = await gather<SampleBatch>(Readable.from(batches), cutSamples(shape))
  expect(found.map(batch => batch.tokens)).toEqual(expected.map(batch => batch.tokens))
  expect(found.map(batch => batch.cursor.globalSamples)).toEqual(expected.map(batch => batch.cursor.globalSamples))
  expect(found).toHaveLength(15)
  for (const batch of found) expect(batch.tokenizer).toEqual(tokenizer)
})
