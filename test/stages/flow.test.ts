/** A slow sink throttles a fast source: counts the bytes in flight over a whole pipeline. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { expect, it } from 'vitest'
import type { TokenBatch } from '#src/formats/batches'
import { extractText } from '#src/stages/extract-text'
import { readFile } from '#src/stages/read-file'
import { readLines } from '#src/stages/read-lines'
import { sink } from '#src/stages/stream/stage'
import { tokenizeBatches } from '#src/stages/tokenize-batches'
import { validateJson } from '#src/stages/validate-json'
import { byteTokenizer } from './byte-tokenizer.js'
import { temporaryFolder } from './support.js'

const CHUNK = 64 << 10

it('bounds the bytes in flight between a file and a slow sink', async () => {
  const folder = temporaryFolder()
  const jsonl = join(folder, 'in.jsonl')
  const tokenizer = join(folder, 'tokenizer.json')
  const line = `${JSON.stringify({ text: 'a line of text '.repeat(60) })}\n`
  const lines = 8000
  writeFileSync(jsonl, line.repeat(lines))
  writeFileSync(tokenizer, JSON.stringify(byteTokenizer()))

  const source = readFile({ path: jsonl, chunk_bytes: CHUNK })
  let taken = 0
  let largest = 0
  const slow = sink<TokenBatch>('slow', async input => {
    for await (const batch of input) {
      await new Promise(resolve => setTimeout(resolve, 5))
      taken += batch.lengths.length
      largest = Math.max(largest, source.stats.bytesOut - taken * line.length)
    }
  })
  const workers = 2
  await pipeline(source, readLines(), validateJson(), extractText(), tokenizeBatches({ tokenizer, workers }), slow)

  expect(taken).toBe(lines)
  // Each of the six streams may buffer two chunks, the workers one more than their number; the file has over a hundred.
  const bound = (2 * 6 + workers + 1) * CHUNK
  expect(largest).toBeLessThanOrEqual(bound)
  expect(largest).toBeGreaterThan(CHUNK)
  expect(line.length * lines).toBeGreaterThan(6 * bound)
})
