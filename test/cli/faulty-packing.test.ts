/** Faulty records when packing with a Modalities configuration: all are reported, and no other record is lost. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { byteTokenizer } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { penstock } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(at(name), content)
  return at(name)
}

/** One record for each kind of fault that an indexed line can have. */
const BAD = ['{"text": ""}', '{"text": null}', '{"body": "x"}', '{"text": 5}', '{"text": ["a"]}', '"text"', '[]', '{}']
const GOOD = 40

const packConfig = (source: string, output: string, options: string): string => `settings:
  src_path: ${source}.jsonl
  dst_path: ${output}
  index_path: ${source}.idx
  jq_pattern: .text
  num_cpus: 2
  eod_token: <|endoftext|>
  processing_batch_size: 3
  raw_samples_queue_size: 300
  processed_samples_queue_size: 300
tokenizer:
  component_key: tokenizer
  variant_key: pretrained_hf_tokenizer
  config: { pretrained_model_name_or_path: ., ${options} }
`

/** A complete index lets the source be read sequentially; a partial one makes every document be looked up. */
async function sources(index: 'complete' | 'partial'): Promise<void> {
  const good = Array.from({ length: GOOD }, (_, number) => `{"text": "line ${number}${'x'.repeat(number)}"}`)
  const mixed = good.flatMap((line, number) => (number % 5 === 3 ? [BAD[(number - 3) / 5]!, line] : [line]))
  for (const [name, lines] of Object.entries({ good, mixed })) {
    // An index made with --faulty skip omits a line that is not JSON.
    const first = index === 'partial' ? ['no JSON'] : []
    file(`${name}.jsonl`, `${[...first, ...lines].join('\n')}\n`)
    const args = [
      'data',
      'create_raw_index',
      `${name}.jsonl`,
      '--faulty',
      'skip',
      '--file_existence_policy',
      'override',
    ]
    expect(await penstock(args, folder)).toMatchObject({ code: 0 })
  }
}

const OPTIONS: Record<string, string> = {
  plain: 'padding: false',
  truncation: 'truncation: true, max_length: 9',
  'special tokens': 'special_tokens: { additional_special_tokens: [x, "3"] }',
}

beforeAll(() => {
  file('tokenizer.json', JSON.stringify(byteTokenizer()))
})

const cases = [
  ['complete', 'plain'],
  ['partial', 'plain'],
  ['complete', 'truncation'],
  ['partial', 'special tokens'],
] as const

describe('packing with a Modalities configuration', { timeout: 240_000 }, () => {
  it.each(cases)(
    'with a %s index, %s: gives the same tokens as a file without the faulty records',
    async (index, name) => {
      await sources(index)
      const pack = (source: string, ...flags: string[]) => {
        const config = file(`${source}.yaml`, packConfig(source, `${source}.pbin`, OPTIONS[name]!))
        const args = ['data', 'pack_encoded_data', config, '--file_existence_policy', 'override', '--quiet', ...flags]
        return penstock(args, folder)
      }
      expect(await pack('good')).toMatchObject({ code: 0 })
      const expected = readFileSync(at('good.pbin'))
      const { code, err } = await pack('mixed', '--quarantine', 'bad.jsonl')
      expect(code, err).toBe(0)
      expect(readFileSync(at('mixed.pbin')).equals(expected)).toBe(true)
      const entries = readFileSync(at('bad.jsonl'), 'utf8')
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line) as { record: string; line: number })
        .sort((one, other) => one.line - other.line)
      expect(entries.map(({ record }) => Buffer.from(record, 'base64').toString())).toEqual(BAD)
      if (name !== 'plain') return
      expect(await pack('mixed', '--faulty', 'skip', '--max-faulty', '3')).toMatchObject({
        code: 1,
        err: expect.stringContaining('TOO_MANY_FAULTS'),
      })
      expect(await pack('mixed')).toMatchObject({ code: 1, err: expect.stringMatching(/mixed\.jsonl:\d/) })
      expect(readFileSync(at('mixed.pbin')).equals(expected)).toBe(true)
    },
  )
})
