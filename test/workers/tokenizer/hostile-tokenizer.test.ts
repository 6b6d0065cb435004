/** Malicious tokenizer files that hang or exhaust memory: rejected at load time, or terminated in their worker. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { extractText } from '#src/stages/extract-text'
import { readLines } from '#src/stages/read-lines'
import { tokenizeBatches } from '#src/stages/tokenize-batches'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { gather, temporaryFolder, utf8 } from '../../stages/support.js'
import { growsAtLoad, hangsAtLoad } from './hostile-files.js'

const folder = temporaryFolder()
const base = byteTokenizer() as { added_tokens: object[]; pre_tokenizer: object }
const text = `${'a'.repeat(40)}!`

const splitBy = (Regex: string): object => ({
  ...base,
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [{ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false }, base.pre_tokenizer],
  },
})
const replacing = (pattern: object, content: string, times = 1): object => ({
  ...base,
  normalizer: {
    type: 'Sequence',
    normalizers: Array.from({ length: times }, () => ({ type: 'Replace', pattern, content })),
  },
})
const addedTokens = Array.from({ length: 50_000 }, (_, id) => ({ id: 300 + id, content: `<${id}>`, special: true }))
const nested = `${'{"type":"Sequence","normalizers":['.repeat(50_000)}{"type":"NFC"}${']}'.repeat(50_000)}`

/** Expected outcome for a document: some tokens, or an error code. */
const HOSTILE: Record<string, [file: string, outcome: RegExp]> = {
  'a look-behind that backtracks': [JSON.stringify(splitBy('(?<!z)(a+)+$')), /tokens/],
  'a look-ahead of quadratic time': [JSON.stringify(splitBy('(?=a*b)a|.')), /tokens|WORKER_HUNG/],
  'a back-reference that backtracks': [JSON.stringify(splitBy('(a+)+\\1b')), /UNSUPPORTED/],
  'a replacement that backtracks': [JSON.stringify(replacing({ Regex: '(a+)+b' }, 'x')), /tokens/],
  'replacements that double the text': [JSON.stringify(replacing({ String: 'a' }, 'aa', 60)), /WORKER_(HUNG|DIED)/],
  'nested repetitions': [JSON.stringify(splitBy('((((a{64}){64}){64}){64}){64}|.')), /UNSUPPORTED/],
  'an automaton with too many states': [JSON.stringify(splitBy('(a|b)*a(a|b){20}|.')), /tokens/],
  'many alternatives': [
    JSON.stringify(splitBy(Array.from({ length: 20_000 }, (_, i) => `x${i}`).join('|'))),
    /UNSUPPORTED/,
  ],
  'many added tokens': [JSON.stringify({ ...base, added_tokens: addedTokens }), /tokens/],
  'deeply nested steps': [
    JSON.stringify({ ...base, normalizer: 0 }).replace('"normalizer":0', `"normalizer":${nested}`),
    /TOKENIZER_INVALID/,
  ],
  'deeply nested brackets': ['['.repeat(1_000_000), /TOKENIZER_INVALID/],
  'many large automata': [JSON.stringify(hangsAtLoad()), /WORKER_HUNG/],
  'an added token that its normalizers double': [JSON.stringify(growsAtLoad()), /TOKENIZER_INVALID/],
  'too many steps': [JSON.stringify(replacing({ String: 'a' }, 'b', 1000)), /TOKENIZER_INVALID/],
}

describe('a hostile tokenizer file', () => {
  it.each(Object.entries(HOSTILE))('with %s is rejected or terminated', async (name, [json, outcome]) => {
    const tokenizer = join(folder, `${name}.json`)
    writeFileSync(tokenizer, json)
    const before = process.cpuUsage()
    const lines = Readable.from([utf8(`${JSON.stringify({ text })}\n`)])
    const stages = [readLines(), extractText(), tokenizeBatches({ tokenizer, workers: 1 })]
    const got = await gather(lines, ...(stages as never[])).then(
      () => 'tokens',
      error => error.code,
    )
    const { user, system } = process.cpuUsage(before)
    expect(got).toMatch(outcome)
    // Up to three workers start, and two are terminated after up to a second of CPU time.
    expect((user + system) / 1e6).toBeLessThan(6)
  })
})
