/** Which files the names of sources stand for, and in which order. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { requireFormat } from '#src/files/source-format'
import { listPackedFiles, listSources } from '#src/files/source-list'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
for (const name of ['in/a', 'in/.hidden', 'odd']) mkdirSync(at(name), { recursive: true })
const NAMES = ['in/b.jsonl', 'in/a/2.jsonl.zst', 'in/a/10.parquet', 'in/notes.bak', 'in/.hidden/x.jsonl', 'in/Z.txt']
for (const name of [...NAMES, 'odd/[1].jsonl', 'odd/@x.jsonl']) writeFileSync(at(name), '')
const inOrder = ['in/Z.txt', 'in/a/10.parquet', 'in/a/2.jsonl.zst', 'in/b.jsonl'].map(at)

describe('listSources', () => {
  it('finds the files of known formats below a folder, sorted by the bytes of their paths', () => {
    expect(listSources([at('in')])).toEqual(inOrder)
  })

  it('takes a mix of files, patterns and lists, each file once', () => {
    writeFileSync(at('list.txt'), `# shards\n${at('in/b.jsonl')}\r\n\n${at('in/a')}\n`)
    expect(listSources([at('in/b.jsonl'), at('in/**/*.{txt,parquet}'), `@${at('list.txt')}`])).toEqual(inOrder)
  })

  it('takes a file once, whatever its path looks like', () => {
    const names = [at('in/b.jsonl'), `${folder}/in/../in/b.jsonl`, relative('.', at('in/b.jsonl')), at('in')]
    expect(listSources(names, 'given')).toEqual([inOrder[3], ...inOrder.slice(0, 3)])
  })

  it('keeps the order of the names when it is asked to', () => {
    expect(listSources([at('in/b.jsonl'), at('in/a')], 'given')).toEqual([inOrder[3], inOrder[1], inOrder[2]])
  })

  it('takes an existing file for itself, whatever its name looks like', () => {
    expect(listSources([at('odd/[1].jsonl')])).toEqual([at('odd/[1].jsonl')])
    expect(listSources([at('odd')])).toEqual([at('odd/@x.jsonl'), at('odd/[1].jsonl')])
  })

  it('follows links to files, and lists that name each other only so deep', () => {
    mkdirSync(at('links'))
    symlinkSync(at('in/b.jsonl'), at('links/l.jsonl'))
    expect(listSources([at('links')])).toEqual([at('links/l.jsonl')])
    writeFileSync(at('loop.txt'), `@${at('loop.txt')}\n`)
    expect(() => listSources([`@${at('loop.txt')}`])).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' }))
  })

  it('sorts names beyond the basic plane by their bytes, too', () => {
    mkdirSync(at('planes'))
    for (const name of ['\uff41.jsonl', '😀.jsonl', 'z.jsonl']) writeFileSync(at(`planes/${name}`), '')
    expect(listSources([at('planes')])).toEqual(
      ['z.jsonl', '\uff41.jsonl', '😀.jsonl'].map(name => at(`planes/${name}`)),
    )
  })

  it('ignores links to folders, and names the endings of a folder without known files', () => {
    mkdirSync(at('circle/inner'), { recursive: true })
    symlinkSync('..', at('circle/inner/up'))
    for (const name of ['a.xz', 'b.xz', 'c']) writeFileSync(at(`circle/inner/${name}`), '')
    expect(() => listSources([at('circle')])).toThrow(/2 \.xz, 1 without an extension/)
    writeFileSync(at('circle/inner/a.csv'), '')
    expect(listSources([at('circle')])).toEqual([at('circle/inner/a.csv')])
  })

  it('reports a name that is not UTF-8', () => {
    mkdirSync(at('names'))
    writeFileSync(Buffer.concat([Buffer.from(at('names/x')), Buffer.from([0xff]), Buffer.from('.csv')]), '')
    expect(() => listSources([at('names')])).toThrow(expect.objectContaining({ code: 'FILE_UNREADABLE' }))
  })

  it.each(['none.jsonl', 'in/*.gz', '@none.txt'])('fails on a name that stands for nothing: %s', name => {
    const path = name.startsWith('@') ? `@${at(name.slice(1))}` : at(name)
    expect(() => listSources([path])).toThrow(expect.objectContaining({ code: 'FILE_MISSING' }))
  })
})

it('rejects known formats that are not read, with advice, and takes unknown names for JSONL', () => {
  expect(() => requireFormat('corpus.jsonl.xz')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  expect(() => requireFormat('corpus.AVRO')).toThrow(/convert it to Parquet/)
  expect(['corpus.data', 'corpus', '/dev/stdin', 'x.ndjson.gz'].map(requireFormat)).toEqual(Array(4).fill('jsonl'))
})

describe('listPackedFiles', () => {
  mkdirSync(at('packed/more'), { recursive: true })
  for (const name of ['b.pbin', 'a.pbin', 'a.pbin.manifest', 'more/c.pbin']) writeFileSync(at(`packed/${name}`), '')
  const packed = (...names: string[]): string[] => names.map(name => at(`packed/${name}`))

  it('keeps the order of folders, patterns, lists and files, those of one name sorted, and files that are named twice', () => {
    writeFileSync(at('packed.txt'), packed('b.pbin', '*.pbin').join('\n'))
    expect(listPackedFiles([`@${at('packed.txt')}`, at('packed'), at('packed/a.pbin')])).toEqual(
      packed('b.pbin', 'a.pbin', 'b.pbin', 'a.pbin', 'b.pbin', 'more/c.pbin', 'a.pbin'),
    )
  })

  it('rejects a folder without packed files, a pattern without a match, and a remote file with the tool that copies it', () => {
    expect(() => listPackedFiles([at('odd')])).toThrow('packed files (.pbin)')
    expect(() => listPackedFiles([at('packed/*.pack')])).toThrow('no file matches')
    expect(() => listPackedFiles(['s3://bucket/a.pbin'])).toThrow('aws s3 cp')
  })
})
