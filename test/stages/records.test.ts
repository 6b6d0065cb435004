/** From bytes to documents: which records are valid, which are faulty, and how faulty ones are handled. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { DocumentBatch } from '#src/formats/batches'
import { extractText } from '#src/stages/extract-text'
import { readLines } from '#src/stages/read-lines'
import { validateJson } from '#src/stages/validate-json'
import { gather, temporaryFolder, utf8 } from './support.js'

const folder = temporaryFolder()

function documents(bytes: Uint8Array, options: Record<string, unknown> = {}): Promise<DocumentBatch[]> {
  const { field = '.text', ...faults } = options
  const stages = [
    readLines({ source: 'in.jsonl', ...faults }),
    validateJson(faults),
    extractText({ field: field as string, ...faults }),
  ]
  return gather<DocumentBatch>(Readable.from([bytes]), ...(stages as never[]))
}

const texts = (batches: readonly DocumentBatch[]): string[] =>
  batches.flatMap(({ bytes, offsets }) =>
    [...offsets.slice(1)].map((end, index) => Buffer.from(bytes.subarray(offsets[index], end)).toString('utf8')),
  )

const bytesOf = (...parts: (string | number[])[]): Uint8Array =>
  Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))))

const GOOD = '{"text":"good"}\n'
/** Faulty records with the expected error code. */
const FAULTS: [name: string, record: Uint8Array, code: string][] = [
  ['incomplete JSON', utf8('{"text":'), 'JSON_INVALID'],
  ['two values', utf8('{"text":"a"}{"text":"b"}'), 'JSON_INVALID'],
  ['NaN', utf8('{"text":NaN}'), 'JSON_INVALID'],
  ['a blank line', utf8(''), 'LINE_BLANK'],
  ['bytes that are not UTF-8', bytesOf('{"text":"', [0xff], '"}'), 'UTF8_INVALID'],
  ['a byte order mark', bytesOf([0xef, 0xbb, 0xbf], '{"text":"a"}'), 'JSON_INVALID'],
  ['a missing field', utf8('{"body":"a"}'), 'FIELD_MISSING'],
  ['a number', utf8('{"text":1}'), 'FIELD_NOT_TEXT'],
  ['an array instead of an object', utf8('["text"]'), 'FIELD_MISSING'],
]

describe('faulty records', () => {
  it.each(FAULTS)('%s: fails with code and line', async (_name, record, code) => {
    const failure = await documents(bytesOf(GOOD, [...record], '\n', GOOD)).catch(error => error)
    expect(failure).toMatchObject({ code, where: { file: 'in.jsonl', line: 2 } })
    expect(failure.where.byteOffset).toBeGreaterThanOrEqual(GOOD.length)
    expect(failure.where.byteOffset).toBeLessThanOrEqual(GOOD.length + record.length)
  })

  it.each(FAULTS)('%s: is skipped without affecting other records', async (_name, record) => {
    const got = await documents(bytesOf(GOOD, [...record], '\n', GOOD), { faulty: 'skip' })
    expect(texts(got)).toEqual(['good', 'good'])
  })

  it('are all written to one quarantine file with line, code and bytes', async () => {
    const quarantine = join(folder, 'faulty.jsonl')
    const all = bytesOf(...FAULTS.flatMap(([, record]) => [[...record], '\n', GOOD]))
    const got = await documents(all, { faulty: 'quarantine', quarantine })
    expect(texts(got)).toEqual(FAULTS.map(() => 'good'))
    const entries = readFileSync(quarantine, 'utf8')
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    entries.sort((a, b) => a.line - b.line)
    expect(entries.map(entry => entry.line)).toEqual(FAULTS.map((_, index) => 2 * index + 1))
    expect(entries.map(entry => entry.code)).toEqual(FAULTS.map(([, , code]) => code))
    expect(entries.map(entry => Buffer.from(entry.record, 'base64'))).toEqual(
      FAULTS.map(([, record]) => Buffer.from(record)),
    )
  })

  it('fail the run above max_faulty', async () => {
    const bad = '{\n'
    const options = { faulty: 'skip', max_faulty: 2 }
    expect(texts(await documents(utf8(GOOD + bad + bad), options))).toEqual(['good'])
    expect(await documents(utf8(GOOD + bad + bad + bad), options).catch(error => error.code)).toBe('TOO_MANY_FAULTS')
  })

  it('require a quarantine file and the quarantine policy together', () => {
    expect(() => validateJson({ faulty: 'quarantine' })).toThrow('quarantine')
    expect(() => validateJson({ quarantine: 'x' })).toThrow('quarantine')
  })
})

describe('extract-text', () => {
  it.each([
    ['.text', '{"text":"a\\u00e9\\n\\ud83d\\ude00"}', 'aé\n😀'],
    ['.a.b', '{"a":{"b":"deep"}}', 'deep'],
    ['.a[1]', '{"a":["x","y"]}', 'y'],
    ['.text', '{"text":"first","text":"last"}', 'last'],
  ])('%s of %s', async (field, record, text) => {
    expect(texts(await documents(utf8(`${record}\n`), { field }))).toEqual([text])
  })
})
