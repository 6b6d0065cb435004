import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { packRecords } from '../../examples/embed.js'
import { byteTokenizer } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

it('the embedding example packs the records of an app', async () => {
  const folder = temporaryFolder()
  const at = (name: string): string => join(folder, name)
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(at('records.jsonl'), '{"text":"one"}\nnot json\n{"text":"two"}\n')
  const result = await packRecords(at('records.jsonl'), at('tokenizer.json'), at('out.pbin'))
  // "one" is o + ne, "two" is three bytes, and each ends with an end-of-document token.
  expect(result).toEqual({ documents: 2, textBytes: 6, tokens: 2 + 1 + 3 + 1 })
})
