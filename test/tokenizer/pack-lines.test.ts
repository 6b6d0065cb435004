import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { Tokenizer as RustTokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import { createLineKernel, LINE_STATUSES } from '#src/tokenizer/kernel/scan-lines'
import { createPackKernel, type PackedLines } from '#src/tokenizer/pack-lines'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { randomFrom, randomRecord } from '../formats/random-records.js'
import { gpt2Json, hasGpt2, PRE_TOKENIZERS, randomText, type TokenizerJson } from './fixtures.js'

const SUITE = fileURLToPath(new URL('../../../shared/reference/JSONTestSuite/test_parsing', import.meta.url))
const wasm = kernelModule()
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

function joinLines(records: readonly Uint8Array[], ending: string): Uint8Array {
  return Buffer.concat(
    records.flatMap((record, i) => (i === 0 ? [record] : [bytesOf('\n'), record])).concat(bytesOf(ending)),
  )
}

const IN_STRINGS = [
  ...[
    ...['b', 'f', 'n', 'r', 't', '/'].map(letter => `\\${letter}`),
    String.raw`\n`,
    String.raw`\"`,
    String.raw`\\`,
    String.raw`\\\"`,
    String.raw`\u00e9`,
    String.raw`\ud83d\ude00`,
    String.raw`\ud83d`,
  ],
  ...['é', '漢', '😀', ' '],
]
const WRONG_IN_STRINGS = ['"', '\t', String.raw`\x`, String.raw`\u12g4`, '\\', '\u0000']

/** A record with long strings, whose escapes fall on every position of the 64 bytes that the kernel reads at once. */
function longRecord(random: (limit: number) => number): Uint8Array {
  const string = (): string => {
    let text = ''
    for (let count = random(12); count > 0; count--) {
      text += 'abcdefgh'.repeat(20).slice(0, random(random(2) === 0 ? 8 : 130))
      for (let escapes = random(4); escapes > 0; escapes--) text += IN_STRINGS[random(IN_STRINGS.length)]!
      if (random(150) === 0) text += WRONG_IN_STRINGS[random(WRONG_IN_STRINGS.length)]!
    }
    return `"${text}"`
  }
  return bytesOf(`{${string()}:${string()},"text":${string()}}`)
}

/** Strings with few or many non-ASCII characters, one or hundreds; half of the records have a byte removed or changed. */
function damagedText(random: (limit: number) => number): Uint8Array {
  const [strings, pieces] = [[1, 700][random(2)]!, [2, 8, 600][random(3)]!]
  const ascii = [1, 20, 150][random(3)]!
  const string = (): string => {
    const piece = (): string => 'abcdefgh'.repeat(19).slice(0, random(ascii)) + ['é', '漢', '😀', ''][random(4)]!
    return JSON.stringify(Array.from({ length: random(strings > 1 ? 2 : pieces) }, piece).join(''))
  }
  const count = 1 + random(strings)
  const record = count === 1 ? string() : `[${Array.from({ length: count }, string)}]`
  const bytes = bytesOf(record)
  const damaged = Array.from(bytes.keys()).filter(at => bytes[at]! > 0x7f)
  if (random(2) === 0 || damaged.length === 0) return random(20) === 0 ? Uint8Array.of(0xf0) : bytes
  const at = damaged[random(damaged.length)]!
  const instead = [[], [0x61], [0x80], [0xc3], [0xe2], [0xf0], [0xed, 0xa0], [0xff]][random(8)]!
  return Uint8Array.of(...bytes.subarray(0, at), ...instead, ...bytes.subarray(at + 1))
}

describe('scanning lines', () => {
  const twin = createLineKernel()
  const kernel = createLineKernel({ wasm })

  it('gives the same lines and statuses in WebAssembly and TypeScript at every offset', () => {
    const random = randomFrom(5)
    for (let round = 0; round < 300; round++) {
      const records = Array.from({ length: random(300) }, () => randomRecord(random))
      const bytes = joinLines(records, ['', '\n', '\n\n', ' '][random(4)]!)
      const start = Math.min(random(3), bytes.length)
      expect(kernel.scan(bytes, start)).toEqual(twin.scan(bytes, start))
    }
  })

  it('gives the same for long strings with escapes and faults at any position', () => {
    const random = randomFrom(6)
    const statuses = new Set<number>()
    for (let round = 0; round < 600; round++) {
      const bytes = joinLines(
        Array.from({ length: 30 }, () => longRecord(random)),
        '\n',
      )
      // Random faults, in addition to those of the records.
      if (round % 2 > 0) for (let at = random(300); at < bytes.length; at += random(3000)) bytes[at] = random(256)
      const found = kernel.scan(bytes)
      expect(found).toEqual(twin.scan(bytes))
      for (const status of found.statuses) statuses.add(status)
    }
    expect([...statuses].sort()).toEqual([0, 1, 2])
  })

  it('gives the same for invalid UTF-8 at any position', () => {
    const random = randomFrom(9)
    const statuses: number[] = []
    for (let round = 0; round < 400; round++) {
      const records = Array.from({ length: 20 }, () => damagedText(random))
      const found = kernel.scan(joinLines(records, '\n'))
      expect(found).toEqual(twin.scan(joinLines(records, '\n')))
      statuses.push(...found.statuses)
    }
    for (const status of [0, 1, 2]) expect(statuses.filter(each => each === status).length).toBeGreaterThan(200)
  })

  it('ends a faulty line at its line feed', () => {
    for (const behind of [String.raw`\x`, String.raw`a\u12`, String.raw`{"b":"\x"}`, 'x', '"', '\t']) {
      for (let length = 0; length < 80; length++) {
        const bytes = bytesOf(`{"a":"${'y'.repeat(length)}\n${behind}\n{"c":1}`)
        const found = kernel.scan(bytes)
        expect(found).toEqual(twin.scan(bytes))
        expect([found.statuses[0], found.lineEnds[0], found.statuses[2]]).toEqual([1, 6 + length, 0])
      }
    }
  })

  it('finds a single invalid byte in each part of a long text', () => {
    const whole = bytesOf(JSON.stringify('é'.repeat(20_000)))
    for (let at = 1; at < whole.length - 1; at += 63) {
      const bytes = Uint8Array.from(whole)
      bytes[at] = 0x61
      expect(LINE_STATUSES[kernel.scan(bytes).statuses[0]!], `byte ${at}`).toBe('UTF8_INVALID')
    }
  })

  it('accepts a chunk in its own memory and keeps the bytes after it', () => {
    const bytes = bytesOf('{"a":1}\nnope\n{"half":')
    const input = kernel.input(bytes.length)
    input.set(bytes)
    const lines = kernel.scan(input, 0, 13)
    expect([...lines.statuses]).toEqual([0, 1])
    expect(kernel.input(bytes.length)).toEqual(bytes)
  })

  it('handles more lines than its table holds', () => {
    const bytes = bytesOf('{}\n\n'.repeat(10_000))
    expect(kernel.scan(bytes)).toEqual(twin.scan(bytes))
  })

  it.skipIf(!existsSync(SUITE))('agrees on every file of JSONTestSuite (needs ../shared/reference)', () => {
    for (const name of readdirSync(SUITE)) {
      const bytes = readFileSync(join(SUITE, name))
      expect(kernel.scan(bytes), name).toEqual(twin.scan(bytes))
    }
  })
})

describe.skipIf(!hasGpt2)('packing lines (needs ../shared/reference)', () => {
  const eodId = 50_256

  function packBoth(json: TokenizerJson, field: string | (string | number)[], bytes: Uint8Array): PackedLines {
    const [twin, kernel] = [undefined, wasm].map(source => {
      const tokenizer = loadTokenizer(json, { wasm: source })
      return createPackKernel({ tokenizer, field, eodId, width: 2 }).pack(bytes)
    })
    // Explaining the difference takes a minute for millions of tokens.
    if (!isDeepStrictEqual(kernel, twin)) expect(kernel).toEqual(twin)
    return kernel!
  }

  it('gives the same in WebAssembly and in TypeScript for invalid and valid records', () => {
    const random = randomFrom(6)
    const records = Array.from({ length: 20_000 }, () => randomRecord(random))
    const packed = packBoth(gpt2Json(), 'text', joinLines(records, '\n'))
    expect(new Set(packed.statuses)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]))
    packBoth(gpt2Json(), ['a', 1, 'text'], joinLines(records, ''))
    const long = Array.from({ length: 2000 }, () => longRecord(random))
    packBoth(gpt2Json(), 'text', joinLines(long, '\n'))
  })

  const variants: Record<string, Partial<TokenizerJson>> = {
    'the plain vocabulary': {},
    NFC: { normalizer: { type: 'NFC' } },
    NFKC: { normalizer: { type: 'NFKC' } },
    'a prefix space': { pre_tokenizer: PRE_TOKENIZERS.roberta! },
    'a template': {
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '<|endoftext|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [],
        special_tokens: { '<|endoftext|>': { id: '<|endoftext|>', ids: [eodId], tokens: ['<|endoftext|>'] } },
      },
    },
  }
  for (const [name, change] of Object.entries(variants)) {
    it(`gives the tokens of JSON.parse and the Rust library with ${name}`, async () => {
      const random = randomFrom(7)
      const texts = ['', 'a<|endoftext|>', 'a\ud83d', ...Array.from({ length: 500 }, () => randomText(random, 200))]
      const json = { ...gpt2Json(), ...change }
      const lines = texts.map(text => bytesOf(JSON.stringify({ id: 1, text })))
      const packed = packBoth(json, 'text', joinLines(lines, '\n'))
      const rust = RustTokenizer.fromString(JSON.stringify(json))
      const encodings = await rust.encodeBatch(texts)
      const expected = encodings.map(encoding => {
        const ids = encoding.getIds()
        return ids.length === 0 || ids.at(-1) === eodId ? ids : [...ids, eodId]
      })
      expect([...packed.lengths]).toEqual(expected.map(ids => ids.length))
      expect([...packed.tokens]).toEqual(expected.flat())
      expect(packed.statuses[0]).toBe(expected[0]!.length === 0 ? LINE_STATUSES.indexOf('DOCUMENT_EMPTY') : 0)
    })
  }

  it('has room for the template of many short texts', () => {
    const around = (count: number): object => ({ SpecialToken: { id: String(count), type_id: 0 } })
    for (const [before, after] of [
      [4, 0],
      [1, 3],
      [0, 4],
      [20, 30],
    ] as const) {
      const ids = { [String(before)]: Array(before).fill(7), [String(after)]: Array(after).fill(8) }
      const special_tokens = Object.fromEntries(
        Object.entries(ids).map(([id, list]) => [id, { id, ids: list, tokens: list }]),
      )
      const single = [around(before), { Sequence: { id: 'A', type_id: 0 } }, around(after)]
      const json = { ...gpt2Json(), post_processor: { type: 'TemplateProcessing', single, pair: [], special_tokens } }
      const packed = packBoth(json, [0], bytesOf('[""]\n["a"]\n'.repeat(30_000)))
      expect([...packed.lengths.slice(0, 2)]).toEqual([before + after + 1, before + after + 2])
    }
  })

  it('rejects only the document with a token too wide', () => {
    const bytes = bytesOf('{"text":"!"}\n{"text":"hello"}\n{"text":"\\""}\n')
    for (const source of [undefined, wasm]) {
      const tokenizer = loadTokenizer(gpt2Json(), { wasm: source })
      const packed = createPackKernel({ tokenizer, field: 'text', width: 1 }).pack(bytes)
      expect([...packed.tokens]).toEqual([0, 1])
      expect([...packed.statuses].map(status => LINE_STATUSES[status])).toEqual([
        undefined,
        'TOKEN_TOO_WIDE',
        undefined,
      ])
    }
  })

  it('keeps no state between chunks', () => {
    const random = randomFrom(8)
    const tokenizer = loadTokenizer(gpt2Json(), { wasm })
    const kernel = createPackKernel({ tokenizer, field: 'text', eodId, width: 2 })
    const fresh = createPackKernel({ tokenizer: loadTokenizer(gpt2Json()), field: 'text', eodId, width: 2 })
    for (let round = 0; round < 30; round++) {
      const records = Array.from({ length: random(20) }, () =>
        bytesOf(JSON.stringify({ text: randomText(random, 1 << random(12)) })),
      )
      const bytes = joinLines(records, '\n')
      expect(kernel.pack(bytes)).toEqual(fresh.pack(bytes))
    }
  })
})
