import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { inspectPacked, inspectPaths } from '#src/cli/actions/inspect'
import { encodePackHeader } from '#src/formats/pack'
import { checkDefinition } from '#src/pipelines/check'
import { definitionOf } from '#src/pipelines/definition'
import { runPipeline } from '#src/pipelines/run'
import { inFolder } from '../monitoring/fixtures.js'

const tokenizer = fileURLToPath(new URL('../../../shared/reference/hf_gpt2/tokenizer.json', import.meta.url))

it('inspect shows rows, padding and dropped tokens of packed rows', async () => {
  await inFolder(async folder => {
    const path = join(folder, 'rows.pack')
    const header = { rowTokens: 10, rows: 2, entries: 3, tokens: 15, droppedTokens: 12 }
    const files = [{ firstDocument: 0, dataBytes: 27, tokenBytes: 1 }]
    writeFileSync(path, Buffer.concat([encodePackHeader({ ...header, files }), Buffer.alloc(3 * 16 + 3 * 8)]))
    expect(await inspectPaths([path], {})).toMatchObject({
      kind: 'packed rows',
      rows: '2',
      'documents per row': '1.5',
      padding: '25.0 %',
      'tokens in no row': '12',
    })
  })
})

describe.skipIf(!existsSync(tokenizer))('inspect of a packed file (needs the reference tokenizer in ../shared)', () => {
  it('shows lengths, frequent and special tokens, and token boundaries', async () => {
    await inFolder(async folder => {
      const at = (name: string) => join(folder, name)
      // In GPT-2, each " a" and the first "a" are single tokens.
      const texts = ['a', 'a a a', 'a a a a a a a\u001b[31m']
      writeFileSync(at('a.jsonl'), texts.map(text => `${JSON.stringify({ text })}\n`).join(''))
      const stages = [
        { 'read-file': { path: at('a.jsonl') } },
        'read-lines',
        { 'extract-text': { field: '.text' } },
        { 'tokenize-batches': { tokenizer, end_of_document: '<|endoftext|>', workers: 1 } },
        { 'write-pbin': { path: at('a.pbin') } },
      ]
      await runPipeline(checkDefinition(definitionOf({ stages }))[0]!)
      const facts = await inspectPacked(at('a.pbin'), tokenizer)
      expect(facts).toMatchObject({
        documents: '3',
        'document 0': 'a│<|endoftext|>',
        'document 1': 'a│ a│ a│<|endoftext|>',
      })
      expect(facts['of 2 to 3']).toMatch(/^1 {2}#+$/)
      expect(facts['of 4 to 7']).toMatch(/^1 {2}#+$/)
      expect(String(facts['most frequent'])).toMatch(/^" a" \d+\.\d %, /)
      const tokens = Number(facts.tokens)
      expect(facts['special tokens']).toBe(`${(300 / tokens).toFixed(1)} %`)
      // Escape sequences in a document must not reach the terminal.
      expect(JSON.stringify(facts)).not.toContain('\u001b')
      expect(String(facts['document 2'])).toContain('\\u001b')
    })
  })
})
