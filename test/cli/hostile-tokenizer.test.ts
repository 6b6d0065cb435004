/** A tokenizer file that makes its loader hang: every command that loads it fails and names the file. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { hangsAtLoad } from '../workers/tokenizer/hostile-files.js'
import { penstock } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

const training = (name: string, tokenizer: string): string => {
  writeFileSync(
    at(name),
    `stages:
  - shuffle-samples: { path: ${at('data.pbin')}, sequence_length: 8, batch_size: 2, epochs: endless }
  - feed-trainer:
      tokenizer: ${at(tokenizer)}
      model: { sequence_length: 8, layers: 1, heads: 1, width: 8 }
      batch_size: 2
      steps: 1
      backend: cpu
      checkpoint: { folder: ${at('checkpoints')} }
`,
  )
  return at(name)
}

beforeAll(async () => {
  writeFileSync(at('good.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(at('hostile.json'), JSON.stringify(hangsAtLoad()))
  writeFileSync(at('data.jsonl'), `${JSON.stringify({ text: 'a line of some text, and another one' })}\n`.repeat(20))
  training('hostile.yaml', 'hostile.json')
  for (const args of [
    ['pack', at('data.jsonl'), '-t', at('good.json'), '--end-of-document', END],
    ['train', training('good.yaml', 'good.json')],
    ['convert', at('checkpoints'), at('model')],
  ]) {
    const { code, err } = await penstock(args)
    expect(code, err).toBe(0)
  }
}, 120_000)

describe('with a tokenizer file that hangs', () => {
  const hostile = at('hostile.json')
  it.each([
    ['pack', at('data.jsonl'), '-o', at('other.pbin'), '-t', hostile],
    ['inspect', at('data.pbin'), '--tokenizer', hostile],
    ['verify', at('data.pbin'), '-t', hostile],
    ['repair', at('data.pbin'), '-t', hostile, '--end-of-document', END],
    ['generate', at('checkpoints'), '--prompt', 'a line', '--tokenizer', hostile],
    ['convert', at('model'), at('back'), '--back', '--tokenizer', hostile],
    ['plan', at('hostile.yaml')],
    ['train', at('hostile.yaml')],
  ])(
    '%s fails and names the file',
    async (...args) => {
      const { code, out, err } = await penstock(args)
      expect(code, err).toBe(1)
      expect(out + err).toContain('[WORKER_HUNG]')
      expect(out + err).toContain(hostile)
    },
    60_000,
  )
})
