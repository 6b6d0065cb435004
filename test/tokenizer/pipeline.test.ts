import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { emptyJson } from './fixtures.js'

const script = fileURLToPath(new URL('../../scripts/fuzz-tokenizers.mjs', import.meta.url))

it('gives the ids and texts of the Rust library for random tokenizers', () => {
  const options = ['--count', '60', '--seed', '10430', '--processes', '1']
  const { status, stdout } = spawnSync(process.execPath, [script, ...options], { encoding: 'utf8' })
  expect(stdout).toMatch(/"tokenizers":[56]\d,/)
  expect(status, stdout).toBe(0)
}, 120_000)

const wordLevel = {
  ...emptyJson({ type: 'Whitespace' }),
  model: { type: 'WordLevel', unk_token: '<unk>', vocab: { a: 0, b: 1 } },
}

it('fails for text that needs an unknown token which the vocabulary lacks', () => {
  const tokenizer = loadTokenizer(wordLevel)
  expect([...tokenizer.encode('a b')]).toEqual([0, 1])
  expect(() => tokenizer.encode('a c')).toThrow(expect.objectContaining({ code: 'TOKENIZER_INVALID' }))
})

it('gives the ids of cached words in long texts', () => {
  const tokenizer = loadTokenizer(wordLevel)
  const ids = Array.from({ length: 3000 }, (_, at) => (at * 7) % 2)
  expect([...tokenizer.encode(ids.map(id => (id === 0 ? 'a' : 'b')).join(' '))]).toEqual(ids)
})
