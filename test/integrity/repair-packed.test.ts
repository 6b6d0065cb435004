import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { repairPacked } from '#src/integrity/repair-packed'
import { openTokenizer, tokenIdOf } from '#src/workers/tokenizer/load-tokenizer'
import { END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { type Corpus, DOCUMENTS, makeCorpus, verdictOf } from './fixtures.js'

const folder = temporaryFolder()
const made = makeCorpus(folder)
const damaged = join(folder, 'damaged.pbin')
const output = join(folder, 'repaired.pbin')
const HEADER_BYTES = 12

let corpus: Corpus
let whole: Buffer
let dataBytes: number
let endOfDocumentId: number
beforeEach(async () => {
  corpus = await made
  whole = readFileSync(corpus.packed)
  dataBytes = Number(whole.readBigUInt64LE(0))
  endOfDocumentId = tokenIdOf(await openTokenizer(corpus.tokenizer), END)
})

/** The file as left by a writer that was killed before it wrote the header. */
function unfinished(bytes: number): Buffer {
  const file = Buffer.from(whole.subarray(0, bytes))
  file.fill(0, 0, 8)
  return file
}

const repair = (bytes: Uint8Array, options: { end?: number | undefined } = { end: endOfDocumentId }) => {
  writeFileSync(damaged, bytes)
  return repairPacked(damaged, { output, endOfDocumentId: options.end })
}

describe('repair of a packed file', () => {
  it('finds a complete index without the header and without a tokenizer', async () => {
    await repair(unfinished(whole.length), {})
    expect(readFileSync(output)).toEqual(whole)
    expect((await verdictOf(output)).findings).toEqual([])
  })

  it('rebuilds an index truncated anywhere from the end-of-document tokens', async () => {
    for (let bytes = HEADER_BYTES + dataBytes + 20; bytes < whole.length; bytes += 5) {
      await repair(unfinished(bytes))
      expect(readFileSync(output).equals(whole), `cut to ${bytes}`).toBe(true)
    }
  })

  it('keeps the complete documents of truncated data', async () => {
    const { documents, notes } = await repair(unfinished(HEADER_BYTES + dataBytes - 6))
    expect(documents).toBe(DOCUMENTS - 1)
    expect(notes.at(-1)).toMatch(/tokens after the last end of a document are dropped/)
    expect((await verdictOf(output)).counts.documents).toBe(DOCUMENTS - 1)
  })

  it('rebuilds an overwritten index', async () => {
    const file = Buffer.from(whole)
    file.fill(0xff, HEADER_BYTES + dataBytes)
    await repair(file)
    expect(readFileSync(output)).toEqual(whole)
  })

  it('rejects what cannot be repaired and leaves the damaged file unchanged', async () => {
    const withoutIndex = unfinished(HEADER_BYTES + dataBytes)
    await expect(repair(withoutIndex, {})).rejects.toMatchObject({ code: 'PBIN_INVALID' })
    expect(readFileSync(damaged)).toEqual(withoutIndex)
    await expect(repair(whole.subarray(0, 7))).rejects.toMatchObject({ code: 'PBIN_INVALID' })
    const noWidth = Buffer.from(whole)
    noWidth.writeUInt32LE(3, 8)
    await expect(repair(noWidth)).rejects.toMatchObject({ code: 'PBIN_INVALID', where: { byteOffset: 8 } })
  })
})
