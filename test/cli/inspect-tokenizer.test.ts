import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { inspectPaths } from '#src/cli/actions/inspect'
import { engineNote } from '#src/workers/tokenizer/tokenizer-setup'
import { byteTokenizer } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { emptyJson } from '../tokenizer/fixtures.js'
import { startingWith } from '../tokenizer/trained.js'

function fileWith(json: object): string {
  const folder = join(temporaryFolder(), 'tokenizer')
  mkdirSync(folder)
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json))
  return folder
}

it('inspect names the engine of a byte-level tokenizer, given as a file', async () => {
  const facts = await inspectPaths([join(fileWith(byteTokenizer()), 'tokenizer.json')], {})
  expect(facts).toMatchObject({ kind: 'tokenizer', engine: 'our engine in WebAssembly' })
})

it('inspect names the engine and the sizes of any other tokenizer, given as a folder', async () => {
  const model = { type: 'WordLevel', unk_token: '<unk>', vocab: { '<unk>': 0, a: 7 } }
  const json = { ...emptyJson({ type: 'Whitespace' }), model }
  const post_processor = startingWith('<unk>', json as never)
  const facts = await inspectPaths([fileWith({ ...json, post_processor })], {})
  expect(facts).toMatchObject({ 'tokens of the model': '2', 'highest token id': '7', 'tokens added before a text': 1 })
  expect(facts.engine).toMatch(/^our general pipeline/)
})

it('inspect rejects an unsupported tokenizer with the place of the component', async () => {
  const folder = fileWith({ ...emptyJson(null), normalizer: { type: 'Unknown' } })
  await expect(inspectPaths([folder], {})).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: /normalizer: type Unknown/,
  })
})

it('a run notes every engine but the one in WebAssembly', () => {
  expect(engineNote({ fast: true, why: 'our engine in WebAssembly' })).toBeUndefined()
  expect(engineNote({ fast: true, why: 'our general pipeline' })).toContain('our general pipeline')
})
