/** Summary of a corpus: formats, counts, fields and faults of a sample. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { inspectPaths } from '#src/cli/actions/inspect'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
mkdirSync(at('mixed'))
const lines = (count: number): string => '{"text":"four words of text","id":"x"}\n'.repeat(count)
for (let index = 0; index < 70; index++) writeFileSync(at(`mixed/${index}.jsonl`), lines(100))
writeFileSync(at('mixed/faulty.jsonl.gz'), gzipSync(`${lines(3)}{"text":\n[1]\n`))
writeFileSync(at('mixed/notes.txt'), 'first line\n\nsecond line\n')
writeFileSync(at('mixed/table.csv'), 'a,body\n1,"some, words"\n2,more\n')

it('counts files and records of each format, its fields and its faults', async () => {
  const facts = await inspectPaths([at('mixed')], {})
  expect(facts).toMatchObject({
    kind: 'corpus',
    files: '73',
    text: '1 file, 24 B, 1 record',
    csv: expect.stringContaining('2 records'),
    '  csv .body': expect.stringMatching(/^in 100 % of the records/),
    '  jsonl .text': expect.stringContaining('18 B each'),
  })
  expect(facts.jsonl).toMatch(/^71 files, .* about [67],\d{3} records$/)
})

it('shows the first fault of a sample', async () => {
  const facts = await inspectPaths([at('mixed/faulty.jsonl.gz')], {})
  expect(facts['  faulty jsonl']).toMatch(/^2 of 5 sampled records; the first: .*faulty\.jsonl\.gz:4: .*JSON_INVALID/)
})

it('counts the lines of texts, where they are the documents', async () => {
  expect((await inspectPaths([at('mixed/*.txt')], { textPer: 'line' })).text).toContain(' 2 records')
  const error = { code: 'ARGUMENT_INVALID' }
  await expect(inspectPaths([at('mixed/table.csv')], { textPer: 'line' })).rejects.toMatchObject(error)
})
