/** `penstock shuffle` with several files. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { TokenBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { readPbin } from '#src/stages/read-pbin'
import { gather, temporaryFolder } from '../stages/support.js'
import { start } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

/** A packed file of documents of two tokens: first, first + 1, and so on, twice each. */
function pack(name: string, first: number): void {
  const tokens = Uint8Array.from({ length: 100 }, (_, place) => first + Math.floor(place / 2))
  const documents = Array.from({ length: 50 }, (_, document): [number, number] => [2 * document, 2])
  const header = encodePbinHeader({ dataBytes: 100, tokenBytes: 1 })
  writeFileSync(at(name), Buffer.concat([header, tokens, writePairList(documents)]))
}

it('shuffles the documents of several packed files into one', async () => {
  for (const [index, name] of ['a.pbin', 'b.pbin', 'c.pbin'].entries()) pack(name, 50 * index)
  const files = ['a.pbin', 'b.pbin', 'c.pbin'].map(at)
  expect(await start(['shuffle', ...files, '-o', at('all.pbin'), '--seed', '1']).outcome).toMatchObject({ code: 0 })
  const batches = await gather<TokenBatch>(readPbin({ path: at('all.pbin') }))
  const tokens = batches.flatMap(batch => [...batch.tokens])
  const documents = tokens.filter((token, place) => place % 2 === 0 && tokens[place + 1] === token)
  expect(documents).toHaveLength(150)
  expect(documents.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 150 }, (_, document) => document))
  const ofFirst = documents.slice(0, 50).filter(document => document < 50).length
  expect(ofFirst).toBeGreaterThan(5)
  expect(ofFirst).toBeLessThan(30)
})

it('rejects packed files together with lines', async () => {
  writeFileSync(at('lines.jsonl'), '{}\n')
  const { code, err } = await start(['shuffle', at('a.pbin'), at('lines.jsonl'), '-o', at('mixed.pbin')]).outcome
  expect(code).toBe(2)
  expect(err).toContain('lines.jsonl')
})
