import { isUtf8 } from 'node:buffer'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { DEPTH_LIMIT, extractText, type FieldPath, scanLine } from '#src/formats/json-scan'
import { randomFrom, randomRecord } from './random-records.js'

const SUITE = fileURLToPath(new URL('../../../shared/reference/JSONTestSuite/test_parsing', import.meta.url))
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const codeOf = (line: Uint8Array): string => {
  const result = scanLine(line, 0, line.length)
  return result.ok ? 'ok' : result.code
}

/** Text at the path, or the code of the fault. */
function textAt(record: string | Uint8Array, path: FieldPath): string {
  const line = typeof record === 'string' ? bytesOf(record) : record
  const out = new Uint8Array(line.length + 2)
  const result = extractText(line, 0, line.length, path, out, 2)
  return typeof result === 'number' ? `=${Buffer.from(out.subarray(2, 2 + result)).toString()}` : result.code
}

it.each([
  [[0xef, 0xbb, 0xbf, 0x7b, 0x7d], 'UTF-8 byte-order mark'],
  [[0xff, 0xfe, 0x7b, 0x00], 'UTF-16 byte-order mark'],
  [[0xfe, 0xff, 0x00, 0x7b], 'UTF-16 byte-order mark'],
  [[0x00, 0x00, 0x00], 'found a NUL byte (U+0000)'],
  [[0x7b, 0x00, 0x22, 0x00], 'found a NUL byte (U+0000)'],
  [bytesOf('{"a":NaN}'), 'NaN is not a JSON value: write null'],
  [bytesOf('[-Infinity]'), 'Infinity is not a JSON value: write null'],
  [bytesOf('{"a":True}'), 'True is not a JSON value: write true'],
  [bytesOf("{'a':1}"), "expected a key, found '"],
  [bytesOf('{"a":é}'), 'expected a value, found byte 0xc3'],
])('names what is at a fault: %s', (bytes, message) => {
  const line = Uint8Array.from(bytes)
  expect(scanLine(line, 0, line.length)).toMatchObject({
    code: 'JSON_INVALID',
    message: expect.stringContaining(message),
  })
})

describe.skipIf(!existsSync(SUITE))('on JSONTestSuite (needs ../shared/reference)', () => {
  const files = existsSync(SUITE) ? readdirSync(SUITE) : []
  const accepted = (name: string): boolean => codeOf(readFileSync(join(SUITE, name))) === 'ok'

  it('accepts every y_ file', () => {
    expect(files.filter(name => name.startsWith('y_') && !accepted(name))).toEqual([])
  })
  it('rejects every n_ file', () => {
    const names = files.filter(name => name.startsWith('n_'))
    expect(names.length).toBeGreaterThan(150)
    expect(names.filter(accepted)).toEqual([])
  })
  it('treats each i_ file like JSON.parse after strict decoding', () => {
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
  it('agrees on 100,000 valid and invalid records and their fields', () => {
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

it('locates and classifies faults', () => {
  expect(scanLine(bytesOf('{"a":1,}'), 0, 8)).toMatchObject({ code: 'JSON_INVALID', offset: 7 })
  expect(scanLine(bytesOf('xx{"a" 1}'), 2, 9)).toMatchObject({ code: 'JSON_INVALID', offset: 7 })
  expect(scanLine(Uint8Array.of(0x22, 0x61, 0xc3, 0x22), 0, 4)).toMatchObject({ code: 'UTF8_INVALID', offset: 2 })
  expect(scanLine(bytesOf(' \r'), 0, 2)).toMatchObject({ code: 'LINE_BLANK' })
  expect(scanLine(bytesOf('\ufeff{}'), 0, 5)).toMatchObject({ code: 'JSON_INVALID', offset: 0 })
})

it('uses the last of repeated keys at every level of the path', () => {
  expect(textAt('{"text":"a","text":"b"}', ['text'])).toBe('=b')
  expect(textAt('{"text":"a","text":1}', ['text'])).toBe('FIELD_NOT_TEXT')
  expect(textAt('{"a":{"text":"x"},"a":{}}', ['a', 'text'])).toBe('FIELD_MISSING')
  expect(textAt('{"a":{"text":"x"},"a":"text"}', ['a', 'text'])).toBe('FIELD_MISSING')
})

it('unescapes strings and replaces lone surrogates by U+FFFD', () => {
  expect(textAt(String.raw`{"te\u0078t":"\ud83d\ude00\n\"\/\u00e9 \ud83d x \ude00\ud83d\ud83d\ude00"}`, ['text'])).toBe(
    '=😀\n"/é \ufffd x \ufffd\ufffd😀',
  )
})

it('limits the depth without recursion', () => {
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
