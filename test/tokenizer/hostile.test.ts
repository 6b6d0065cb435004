import { describe, expect, it } from 'vitest'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { byteTokenizer } from '../stages/byte-tokenizer.js'
import { growsAtLoad } from '../workers/tokenizer/hostile-files.js'
import { describeWithGpt2, gpt2Json, PRE_TOKENIZERS, randomFrom, type TokenizerJson } from './fixtures.js'
import { firstDifference } from './judge.js'

const random = randomFrom(31)
const MEGABYTE = 1_000_000
const from = (count: number, character: () => string): string => Array.from({ length: count }, character).join('')
const letter = (): string => String.fromCharCode(97 + random(26))

/** A megabyte each; a tenth of it is just as hostile. */
const HOSTILE: Record<string, string> = {
  'one letter': 'a'.repeat(MEGABYTE),
  'one sign': '='.repeat(MEGABYTE),
  spaces: ' '.repeat(MEGABYTE),
  'spaces and a letter': `${' '.repeat(MEGABYTE)}x`,
  'line feeds and spaces': '\n          '.repeat(MEGABYTE / 11),
  'random letters': from(MEGABYTE, letter),
  'random words of 20 letters': from(MEGABYTE / 21, () => ` ${from(20, letter)}`),
  'emoji with joiners': '👩\u200d'.repeat(MEGABYTE / 7),
  'random ideographs': from(MEGABYTE / 3, () => String.fromCharCode(0x4e00 + random(0x5000))),
  apostrophes: "'s'l".repeat(MEGABYTE / 4),
  'almost special tokens': '<|endoftext'.repeat(MEGABYTE / 11),
  'special tokens': '<|endoftext|>'.repeat(MEGABYTE / 13),
}

/** CPU time of this process, so that a busy machine does not fail the test. */
function cpuMilliseconds(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

describeWithGpt2('hostile text', () => {
  const models: Record<string, TokenizerJson> = {
    gpt2: gpt2Json(),
    'a split pattern': { ...gpt2Json(), pre_tokenizer: PRE_TOKENIZERS.o200k! },
    'three split patterns': { ...gpt2Json(), pre_tokenizer: PRE_TOKENIZERS.deepseek! },
    'no split at all': {
      ...gpt2Json(),
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    },
  }
  for (const [name, json] of Object.entries(models)) {
    for (const wasm of [undefined, kernelModule()]) {
      const tokenizer = loadTokenizer(json, { wasm })
      it(`takes bounded time with ${name} ${wasm === undefined ? 'in TypeScript' : 'in WebAssembly'}`, () => {
        tokenizer.encode('warm up '.repeat(10_000))
        const slow: string[] = []
        for (const [kind, text] of Object.entries(HOSTILE)) {
          const times = { tenth: Number.POSITIVE_INFINITY, whole: Number.POSITIVE_INFINITY }
          // Below 20 ms for the tenth, caches and the compiler weigh more than the text.
          const isBounded = (): boolean => times.whole <= Math.min(1500, 15 * Math.max(times.tenth, 20))
          // Cache interference by other processes only adds time: the minimum of each counts.
          for (let attempt = 0; attempt < 3 && !isBounded(); attempt++) {
            const tenth = cpuMilliseconds(() => tokenizer.encode(text.slice(0, text.length / 10)))
            times.tenth = Math.min(times.tenth, tenth)
            times.whole = Math.min(
              times.whole,
              cpuMilliseconds(() => tokenizer.encode(text)),
            )
          }
          if (!isBounded()) slow.push(`${kind}: ${times.tenth} ms, ${times.whole} ms`)
        }
        expect(slow).toEqual([])
      })
    }
    it(`has the ids of the Rust library with ${name}`, async () => {
      const texts = Object.values(HOSTILE).map(text => text.slice(0, 20_000))
      expect(await firstDifference(json, texts)).toBeUndefined()
    })
  }
})

/** Files are loaded in the caller's thread, so they are rejected before they take long. */
describe('a hostile tokenizer.json', () => {
  const sequence = (count: number, step: object): object => ({ type: 'Sequence', normalizers: Array(count).fill(step) })
  const nested = (depth: number): object => (depth === 0 ? { type: 'NFC' } : sequence(1, nested(depth - 1)))
  const base = byteTokenizer()
  const files: Record<string, string | object> = {
    'brackets without end': '['.repeat(100_000),
    'brackets in an unused part': `{"junk":${'['.repeat(1000)}${']'.repeat(1000)},${JSON.stringify(base).slice(1)}`,
    'steps in steps': { ...base, normalizer: nested(1000) },
    'many steps': { ...base, normalizer: sequence(65, { type: 'NFC' }) },
    'many steps in many steps': { ...base, normalizer: sequence(8, sequence(8, { type: 'NFC' })) },
    'normalizers that double an added token': growsAtLoad(),
  }
  it.each(Object.entries(files))('with %s is rejected', (_, file) => {
    expect(() => loadTokenizer(file)).toThrowError(expect.objectContaining({ code: 'TOKENIZER_INVALID' }))
  })

  it('may have brackets in strings and the maximum number of steps', () => {
    const junk = `"${'['.repeat(1000)}\\"${'{'.repeat(1000)}"`
    expect(loadTokenizer(`{"junk":${junk},${JSON.stringify(base).slice(1)}`).encode('a')).toHaveLength(1)
    expect(loadTokenizer({ ...base, normalizer: sequence(63, { type: 'NFC' }) }).encode('a')).toHaveLength(1)
  })
})
