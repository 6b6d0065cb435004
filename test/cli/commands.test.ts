import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { hasReference, penstock, REFERENCE } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(at(name), content)
  return at(name)
}
const tokenizer = file('tokenizer.json', JSON.stringify(byteTokenizer()))
const good = file('good.jsonl', '{"text":"one line"}\n{"text":"another line"}\n')

describe.skipIf(!hasReference)('with the reference files of Modalities', () => {
  const lorem = join(REFERENCE, 'modalities', 'lorem_ipsum.jsonl')
  const golden = (ending: string): Buffer => readFileSync(join(REFERENCE, 'modalities', `lorem_ipsum.${ending}`))
  const gpt2 = join(REFERENCE, 'hf_gpt2')

  it('index writes the same .idx, byte for byte', async () => {
    expect(await penstock(['index', lorem, '-o', at('lorem.idx')])).toMatchObject({ code: 0 })
    expect(readFileSync(at('lorem.idx')).equals(golden('idx'))).toBe(true)
  })

  it.each([1, 2, 4])('pack writes the same .pbin, byte for byte, with %i workers', async workers => {
    const output = at(`lorem${workers}.pbin`)
    const args = ['pack', lorem, '-t', gpt2, '-o', output, '--end-of-document', END, '--workers', String(workers)]
    expect(await penstock([...args, '--index', at(`lorem${workers}.idx`)])).toMatchObject({ code: 0 })
    expect(readFileSync(output).equals(golden('pbin'))).toBe(true)
    expect(readFileSync(at(`lorem${workers}.idx`)).equals(golden('idx'))).toBe(true)
  })
})

describe('help', () => {
  it('shows an example for every command', async () => {
    const { out } = await penstock(['--help'])
    const commands = [...out.matchAll(/^ {2}([a-z][\w-]*) /gm)].map(match => match[1]!).filter(name => name !== 'help')
    expect(commands).toEqual(expect.arrayContaining(['run', 'index', 'pack', 'train', 'generate', 'inspect', 'stages']))
    for (const command of commands) {
      const { code, out: help } = await penstock([command, '--help'])
      expect(help, command).toMatch(new RegExp(`Examples?:\\n  penstock ${command}`))
      expect(code).toBe(0)
    }
  })
})

describe('invalid input is reported in one line, with a location and a code', () => {
  const line2 = (bytes: string | Uint8Array): Buffer =>
    Buffer.concat([Buffer.from('{"text":"a"}\n'), Buffer.from(bytes), Buffer.from('\n')])
  const pack = (source: string): string[] => [
    'pack',
    source,
    '-t',
    tokenizer,
    '-o',
    at('bad.pbin'),
    '--index',
    at('bad.idx'),
  ]
  const cases: [name: string, args: () => string[], exit: number, shown: string[]][] = [
    ['an invalid line', () => pack(file('a.jsonl', line2('{"text":'))), 1, ['a.jsonl:2:', 'JSON_INVALID']],
    [
      'a missing field',
      () => pack(file('b.jsonl', line2('{"body":"x"}'))),
      1,
      ['b.jsonl:2:', '.text'.slice(1), 'FIELD_MISSING'],
    ],
    [
      'a field that is not a string',
      () => pack(file('c.jsonl', line2('{"text":7}'))),
      1,
      ['c.jsonl:2:', 'FIELD_NOT_TEXT'],
    ],
    [
      'bytes that are not UTF-8',
      () => pack(file('d.jsonl', line2(Uint8Array.of(34, 255, 34)))),
      1,
      ['d.jsonl:2:', 'UTF8_INVALID'],
    ],
    ['a missing file', () => pack(at('none.jsonl')), 1, ['none.jsonl:', 'FILE_MISSING']],
    [
      'a missing tokenizer',
      () => ['pack', good, '-t', at('none.json'), '-o', at('bad.pbin')],
      1,
      ['none.json', 'FILE_MISSING'],
    ],
    [
      'a file that is not a tokenizer',
      () => ['pack', good, '-t', file('e.json', '{"a":1}'), '-o', at('bad.pbin')],
      1,
      ['e.json', 'TOKENIZER_INVALID'],
    ],
    [
      'an unknown end-of-document token',
      () => [...pack(good), '--end-of-document', '<none>'],
      1,
      ['<none>', 'TOKENIZER_MISMATCH'],
    ],
    [
      'an unknown key in a definition',
      () => ['run', file('f.yaml', 'stages:\n  - read-file: { path: a, pth: b }\n')],
      2,
      ['f.yaml:2:', 'pth', 'CONFIG_INVALID'],
    ],
    ['an unknown option', () => ['index', good, '--outptu', 'x'], 2, ['--outptu', '--output']],
    [
      'an output that is also the input',
      () => ['index', good, '-o', good, '--if-exists', 'override'],
      2,
      ['good.jsonl', 'FILE_IS_SOURCE'],
    ],
    ['an existing output', () => ['index', good, '-o', file('there.idx', 'mine')], 1, ['there.idx', 'FILE_EXISTS']],
  ]

  it.each(cases)('%s', async (_name, args, exit, shown) => {
    const before = readFileSync(good)
    const { code, err } = await penstock(args())
    expect(code).toBe(exit)
    for (const part of shown) expect(err).toContain(part)
    const lines = err.trimEnd().split('\n')
    expect(lines.filter(line => line.startsWith('penstock: ') || line.startsWith('error: '))).toHaveLength(1)
    expect(
      readdirSync(folder).filter(name => name.startsWith('bad.') || name.endsWith('.part') || name.endsWith('.lock')),
    ).toEqual([])
    expect(readFileSync(good).equals(before)).toBe(true)
    if (existsSync(at('there.idx'))) expect(readFileSync(at('there.idx'), 'utf8')).toBe('mine')
  })

  it('a tokenizer that differs from that of the packed file', async () => {
    expect(await penstock(['pack', good, '-t', tokenizer, '-o', at('good.pbin')])).toMatchObject({ code: 0 })
    const other = byteTokenizer() as { model: { merges: string[] } }
    other.model.merges.pop()
    const args = ['inspect', at('good.pbin'), '--tokenizer', file('other.json', JSON.stringify(other))]
    expect(await penstock(args)).toMatchObject({ code: 1, err: expect.stringContaining('TOKENIZER_MISMATCH') })
  })
})

describe('commands', () => {
  it('inspect summarizes the files that pack writes', async () => {
    const args = ['pack', good, '-t', tokenizer, '-o', at('i.pbin'), '--index', at('i.idx'), '--end-of-document', END]
    expect(await penstock(args)).toMatchObject({ code: 0 })
    const packed = JSON.parse((await penstock(['inspect', at('i.pbin'), '--tokenizer', tokenizer, '--json'])).out)
    expect(packed).toMatchObject({ documents: '2', 'bytes per token': 2 })
    // Tokens are separated by a bar.
    expect(packed['document 0'].replaceAll('│', '')).toBe(`one line${END}`)
    const index = JSON.parse((await penstock(['inspect', at('i.idx'), '--json'])).out)
    expect(index).toMatchObject({ records: '2', 'bytes covered': '43 B' })
  })

  it('keep an existing output with --if-exists skip', async () => {
    const kept = file('kept.idx', 'mine')
    const result = await penstock(['index', good, '-o', kept, '--if-exists', 'skip'])
    expect(result).toMatchObject({ code: 0, err: `index: nothing to do, ${kept} already exists\n` })
    expect(readFileSync(kept, 'utf8')).toBe('mine')
  })

  it('print errors and skipped outputs as JSON lines with --json', async () => {
    const missing = await penstock(['index', at('none.jsonl'), '--json'])
    expect(JSON.parse(missing.err)).toMatchObject({
      event: 'error',
      code: 'FILE_MISSING',
      message: expect.any(String),
      where: { file: at('none.jsonl') },
      remedy: expect.any(String),
    })
    const usage = await penstock(['index', good, '--json', '--outptu', 'x'])
    expect(usage.code).toBe(2)
    expect(JSON.parse(usage.err)).toMatchObject({ event: 'error', code: 'ARGUMENT_INVALID' })
    const skipped = await penstock(['index', good, '-o', file('kept2.idx', ''), '--if-exists', 'skip', '--json'])
    expect(JSON.parse(skipped.err)).toEqual({ event: 'skipped', pipeline: 'index', outputs: [at('kept2.idx')] })
  })

  it('read .gz and .zst', async () => {
    const { gzipSync } = await import('node:zlib')
    const zipped = file('zipped.jsonl.gz', gzipSync(readFileSync(good)))
    expect(await penstock(['index', good, '-o', at('plain.idx')])).toMatchObject({ code: 0 })
    expect(await penstock(['index', zipped, '-o', at('zipped.idx')])).toMatchObject({ code: 0 })
    expect(readFileSync(at('zipped.idx')).equals(readFileSync(at('plain.idx')))).toBe(true)
  })

  it('quarantine faulty lines and count them', async () => {
    const source = file('q.jsonl', '{"text":"a"}\n{"text":\n{"text":"b"}\n')
    const { code, err } = await penstock(['index', source, '--quarantine', at('q.faulty')])
    expect({ code, err }).toMatchObject({ code: 0, err: expect.stringContaining('1 rejected') })
    expect(JSON.parse(readFileSync(at('q.faulty'), 'utf8'))).toMatchObject({ line: 2, code: 'JSON_INVALID' })
  })
})
