import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { extractText, readLines, tokenizeBatches, writePbin } from 'penstock-ml/stages'
import { beforeAll, expect, it } from 'vitest'
import { fromRecords } from '../../examples/own-stages.js'
import { firstTexts, openTokenizer } from '../../examples/tokenize.js'
import { train } from '../../examples/train.js'
import { trainAndGenerate } from '../../examples/train-and-generate.js'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const records = Array.from({ length: 50 }, (_, id) => ({ text: `line ${id} of a few` }))

beforeAll(async () => {
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  const tokens = tokenizeBatches({ tokenizer: at('tokenizer.json'), end_of_document: END })
  await pipeline(fromRecords(records), readLines(), extractText(), tokens, writePbin({ path: at('corpus.pbin') }))
})

it('the tokenizer example reads only the first texts', async () => {
  const tokenizer = openTokenizer(at('tokenizer.json'))
  expect(tokenizer.engineInfo.why).toMatch(/WebAssembly/)
  expect(await firstTexts(at('corpus.pbin'), tokenizer, 2)).toEqual(['line 0 of a few', 'line 1 of a few'])
})

it('the training example reports its losses and saves a checkpoint', async () => {
  const run = await train(at('corpus.pbin'), at('tokenizer.json'), at('checkpoints'), new AbortController().signal)
  expect(run.losses).toHaveLength(3)
  expect(run.counts.tokens).toBe(6 * 4 * 16)
  expect(readdirSync(at('checkpoints'))).toContain('step-000006')
})

it('the example of train and generate returns losses, a checkpoint and a text', async () => {
  const { signal } = new AbortController()
  const result = await trainAndGenerate(at('corpus.pbin'), at('tokenizer.json'), at('functions'), signal)
  expect(result.losses).toHaveLength(3)
  expect(result.checkpoint).toMatch(/step-000006$/)
  expect(result.text).toMatch(/^one/)
})
