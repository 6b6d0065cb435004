import { isUtf8 } from 'node:buffer'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { DEPTH_LIMIT, extractText, type FieldPath, scanLine } from '#src/formats/json-scan'

const SUITE = fileURLToPath(new URL('../../../shared/reference/JSONTestSuite/test_parsing', import.meta.url))
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const codeOf = (line: Uint8Array): string => {
  const result = scanLine(line, 0, line.length)
  return result.ok ? 'ok' : result.code
}

/** The text at the path, or the code of the fault. */
function textAt(record: string | Uint8Array, path: FieldPath): string {
  const line = typeof record === 'string' ? bytesOf(record) : record
  const out = new Uint8Array(line.length + 2)
  const result = extractText(line, 0, line.length, path, out, 2)
  return result.ok ? `=${Buffer.from(out.subarray(2, 2 + result.length)).toString()}` : result.code
}

describe.skipIf(!existsSync(SUITE))('on JSONTestSuite (needs ../shared/reference)', () => {
  const files = existsSync(SUITE) ? readdirSync(SUITE) : []
  const accepted = (name: string): boolean => codeOf(readFileSync(join(SUITE, name))) === 'ok'

  it('accepts every y_ file', () => {
    expect(files.filter(name => name.startsWith('y_') && !accepted(name))).toEqual([])
  })
  it('refuses every n_ file', () => {
    const names = files.filter(name => name.startsWith('n_'))
    expect(names.length).toBeGreaterThan(150)
    expect(names.filter(accepted)).toEqual([])
  })
  it('does with each i_ file what JSON.parse does after strict decoding', () => {
    const parses = (name: string): boolean => {
      try {
        JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(join(SUITE, name))))
        return true
      } catch {
        return false
      }
    }
    const names = files.filter(name => name.startsWith('i_'))
    expect(names.filter(name => accepted(name) !== parses(name))).toEqual([])
  })
})

describe('against JSON.parse and isUtf8', () => {
  it('agrees on 100,000 broken and whole records, and on their field', () => {
    const random = randomFrom(11)
    for (let i = 0; i < 100_000; i++) {
      const line = randomRecord(random)
      if (line.length === 0) continue
      const { valid, value } = judge(line)
      const found = codeOf(line)
      if ((found === 'ok') !== valid) expect.unreachable(`${found} for ${JSON.stringify(Buffer.from(line).toString())}`)
      if (!valid) continue
      for (const path of [['text'], ['a', 'text'], ['a', 1, 'text'], [0]]) {
        const wanted = follow(value, path)
        const expected =
          wanted === undefined
            ? 'FIELD_MISSING'
            : typeof wanted === 'string'
              ? `=${wellFormed(wanted)}`
              : 'FIELD_NOT_TEXT'
        if (textAt(line, path) !== expected)
          expect(`${textAt(line, path)} at ${path} of ${Buffer.from(line)}`).toBe(expected)
      }
    }
  })
})

it('tells the place and the kind of a fault', () => {
  expect(scanLine(bytesOf('{"a":1,}'), 0, 8)).toMatchObject({ code: 'JSON_INVALID', offset: 7 })
  expect(scanLine(bytesOf('xx{"a" 1}'), 2, 9)).toMatchObject({ code: 'JSON_INVALID', offset: 7 })
  expect(scanLine(Uint8Array.of(0x22, 0x61, 0xc3, 0x22), 0, 4)).toMatchObject({ code: 'UTF8_INVALID', offset: 2 })
  expect(scanLine(bytesOf(' \r'), 0, 2)).toMatchObject({ code: 'LINE_BLANK' })
  expect(scanLine(bytesOf('\ufeff{}'), 0, 5)).toMatchObject({ code: 'JSON_INVALID', offset: 0 })
})

it('takes the last of repeated keys, at every level of the path', () => {
  expect(textAt('{"text":"a","text":"b"}', ['text'])).toBe('=b')
  expect(textAt('{"text":"a","text":1}', ['text'])).toBe('FIELD_NOT_TEXT')
  expect(textAt('{"a":{"text":"x"},"a":{}}', ['a', 'text'])).toBe('FIELD_MISSING')
  expect(textAt('{"a":{"text":"x"},"a":"text"}', ['a', 'text'])).toBe('FIELD_MISSING')
})

it('unescapes, surrogate pairs included, and makes lone surrogates U+FFFD', () => {
  expect(textAt(String.raw`{"te\u0078t":"\ud83d\ude00\n\"\/\u00e9 \ud83d x \ude00\ud83d\ud83d\ude00"}`, ['text'])).toBe(
    '=😀\n"/é \ufffd x \ufffd\ufffd😀',
  )
})

it('bounds the depth without recursion', () => {
  const nested = (depth: number): Uint8Array => bytesOf('['.repeat(depth) + ']'.repeat(depth))
  expect(codeOf(nested(DEPTH_LIMIT))).toBe('ok')
  expect(codeOf(nested(DEPTH_LIMIT + 1))).toBe('JSON_INVALID')
})

function judge(line: Uint8Array): { valid: boolean; value?: unknown } {
  if (!isUtf8(line)) return { valid: false }
  try {
    return { valid: true, value: JSON.parse(Buffer.from(line).toString()) }
  } catch {
    return { valid: false }
  }
}

function follow(value: unknown, path: FieldPath): unknown {
  let current = value
  for (const part of path) {
    const isContainer = typeof part === 'number' ? Array.isArray(current) : !Array.isArray(current)
    if (typeof current !== 'object' || current === null || !isContainer || !Object.hasOwn(current, part))
      return undefined
    current = (current as Record<string | number, unknown>)[part]
  }
  return current
}

const wellFormed = (text: string): string => Buffer.from(text).toString()

function randomFrom(seed: number): (limit: number) => number {
  let state = seed
  return limit => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

const ATOMS = [
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '"a"',
    '"text"',
    String.raw`"te\u0078t"`,
    String.raw`"\ud83d\ude00"`,
    String.raw`"\ud83d"`,
  ],
  ...[
    '"\\u00e9é漢😀"',
    '1',
    '0',
    '-0',
    '-',
    '01',
    '1.5',
    '1.',
    '1e5',
    '1E+',
    '1e-3',
    '.5',
    'true',
    'false',
    'null',
    'nul',
    ' ',
    '\t',
    '\r',
  ],
  ...[
    '"\\x"',
    '"\\u12g4"',
    String.raw`"\n\t\"\\"`,
    '"a\tb"',
    '\u00a0',
    '\ufeff',
    '1.0e+10',
    '""',
    '{"text":"abc\\ndef"}',
    '1e',
    '+1',
    'NaN',
  ],
  ...[
    `"${'x'.repeat(15)}"`,
    `"${'y'.repeat(16)}\\n"`,
    `"${'z'.repeat(33)}\\\\"`,
    '"\u007f"',
    "'a'",
    '//',
    '"\\/"',
    '"\\b\\f"',
    'Infinity',
  ],
]

function randomRecord(random: (limit: number) => number): Uint8Array {
  const kind = random(10)
  if (kind < 4) return bytesOf(randomJson(random, 0))
  if (kind < 6) return bytesOf(Array.from({ length: 1 + random(7) }, () => ATOMS[random(ATOMS.length)]!).join(''))
  let line = bytesOf(randomJson(random, 0))
  for (let changes = 1 + random(3); changes > 0 && line.length > 0; changes--) {
    const at = random(line.length)
    const inserted = random(3) === 0 ? [] : [random(256)]
    line = Uint8Array.from([...line.subarray(0, at), ...inserted, ...line.subarray(at + random(2))])
  }
  return line.filter(byte => byte !== 10)
}

function randomJson(random: (limit: number) => number, depth: number): string {
  const kind = random(depth > 4 ? 4 : 8)
  const list = (item: () => string): string =>
    Array.from({ length: random(4) }, item).join(random(30) === 0 ? ' ' : ', ')
  if (kind === 0) return String(random(1000) - 500)
  if (kind === 1) return ATOMS[random(ATOMS.length)]!
  if (kind === 2) {
    const units = Array.from({ length: random(40) }, () => (random(5) > 0 ? 32 + random(90) : random(0x3000)))
    return JSON.stringify(String.fromCharCode(...units))
  }
  if (kind === 3) return ['true', 'false', 'null', '1.5e-7', '-0.0'][random(5)]!
  if (kind === 4) return `[${list(() => randomJson(random, depth + 1))}]`
  const key = (): string => ['"text"', '"a"', '"te\\u0078t"', JSON.stringify(`k${random(9)}`)][random(4)]!
  return `{${list(() => `${key()}${random(50) > 0 ? ':' : ' '}${randomJson(random, depth + 1)}`)}}`
}
