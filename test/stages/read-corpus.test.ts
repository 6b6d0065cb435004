/** A corpus in any mix of formats gives the documents of the same corpus as JSONL, also after a kill. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { describe, expect, it } from 'vitest'
import type { DocumentBatch } from '#src/formats/batches'
import { type ReadCorpusOptions, readCorpus, readCorpusStage } from '#src/stages/read-corpus'
import { documentTexts, gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

const texts = Array.from({ length: 2500 }, (_, index) => `document ${index}, "quoted", 日本\n${'x'.repeat(index % 50)}`)
const [first, second, third, fourth, fifth] = [0, 500, 1000, 1500, 2000].map(from => texts.slice(from, from + 500))
const jsonl = (some: readonly string[]): string => some.map(text => `${JSON.stringify({ text })}\n`).join('')
const csv = (some: readonly string[]): string =>
  `id,text\r\n${some.map((text, id) => `${id},"${text.replaceAll('"', '""')}"`).join('\r\n')}`

// Without its last line feed: the next file must not continue the line.
writeFileSync(at('1.jsonl'), jsonl(first!).trimEnd())
writeFileSync(at('2.jsonl.gz'), gzipSync(jsonl(second!)))
const columnData = [{ name: 'text', data: third!, type: 'STRING' as const }]
writeFileSync(at('3.parquet'), Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 100 })))
writeFileSync(at('4.json'), JSON.stringify(fourth!.map(text => ({ text }))))
writeFileSync(at('5.csv'), csv(fifth!))

async function read(options: ReadCorpusOptions) {
  const stage = readCorpus(options)
  const batches = await gather<DocumentBatch>(stage)
  return { documents: documentTexts(batches), batches, stats: stage.stats }
}

describe('a table', () => {
  it('has the delimiter of its first row, or the one that the options name', async () => {
    writeFileSync(at('semicolons.csv'), '\ufeffid;text\n1;"a;b, c"\n2;d,e\n')
    writeFileSync(at('pipes.tsv'), 'id|text\n1|a,b\n')
    expect((await read({ sources: [at('semicolons.csv')] })).documents).toEqual(['a;b, c', 'd,e'])
    expect((await read({ sources: [at('pipes.tsv')], delimiter: 'pipe' })).documents).toEqual(['a,b'])
    await expect(read({ sources: [at('pipes.tsv')] })).rejects.toMatchObject({ code: 'FIELD_MISSING' })
    for (const name of ['semicolons.csv', 'pipes.tsv']) rmSync(at(name))
  })
})

describe('read-corpus', () => {
  it('reads every format of a folder in the order of names', async () => {
    const { documents, batches, stats } = await read({ sources: [folder] })
    expect(documents).toEqual(texts)
    expect(batches.map(({ number }) => number)).toEqual([...batches.keys()])
    expect(stats.counts).toMatchObject({ files: 5, totalFiles: 5, readBytes: stats.counts.totalBytes })
  })

  it('names file and record of a fault, in every format', async () => {
    const faulty: Record<string, [string, number]> = {
      'f.jsonl': ['{"text":"a"}\n{"text":5}\n', 2],
      'f.json': ['[{"text":"a"},{"text":5}]', 2],
      'f.csv': ['other\nb\n', 1],
    }
    for (const [name, [content, line]] of Object.entries(faulty)) {
      writeFileSync(at(name), content)
      await expect(read({ sources: [at(name)] }), name).rejects.toMatchObject({ where: { file: at(name), line } })
      const { stats } = await read({ sources: [at(name)], faulty: 'skip' })
      expect(stats.rejected, name).toBe(1)
    }
    writeFileSync(at('torn.csv'), 'text\n"never closed\n')
    await expect(read({ sources: [at('torn.csv')] })).rejects.toMatchObject({ code: 'CSV_INVALID' })
    writeFileSync(at('latin.txt'), Buffer.from([0x63, 0xe9]))
    await expect(read({ sources: [at('latin.txt')] })).rejects.toMatchObject({ code: 'UTF8_INVALID' })
  })

  it('takes a text file as one document, and JSON lines under the name .json', async () => {
    writeFileSync(at('t.txt'), '\ufeffone\n\ntwo\n')
    writeFileSync(at('lines.json'), jsonl(['a', 'b']))
    expect((await read({ sources: [at('t.txt'), at('lines.json')], order: 'given' })).documents).toEqual([
      'one\n\ntwo\n',
      'a',
      'b',
    ])
  })

  it('takes a JSON value over several lines as a record, and an invalid first line of JSONL as a fault', async () => {
    writeFileSync(at('pretty.json'), '{\n "text": "a"\n}\n{ "text":\n"b" }')
    expect((await read({ sources: [at('pretty.json')] })).documents).toEqual(['a', 'b'])
    writeFileSync(at('bad.json'), `{"text" 5}\n${jsonl(['a'])}`)
    expect((await read({ sources: [at('bad.json')], faulty: 'skip' })).documents).toEqual(['a'])
  })

  it('rejects a row with too many or too few fields alone, and a table with two columns of a name', async () => {
    writeFileSync(at('ragged.csv'), 'text,id\na,1\nb\nc,3\nd,4,5\n"e\n",6\n')
    await expect(read({ sources: [at('ragged.csv')] })).rejects.toMatchObject({
      code: 'CSV_INVALID',
      where: { line: 2 },
    })
    const { documents, batches, stats } = await read({ sources: [at('ragged.csv')], faulty: 'skip' })
    expect(documents).toEqual(['a', 'c', 'e\n'])
    expect(batches.flatMap(({ origin }) => [...origin.lines].map(line => line + origin.firstLine))).toEqual([1, 3, 5])
    expect(stats.rejected).toBe(2)
    writeFileSync(at('latin.csv'), Buffer.from('\u00ef\u00bb\u00bf"text",id\nh\u00e9,1\nh\u00c3\u00a9,2\n', 'latin1'))
    await expect(read({ sources: [at('latin.csv')] })).rejects.toMatchObject({
      code: 'UTF8_INVALID',
      where: { file: at('latin.csv'), line: 1 },
    })
    expect((await read({ sources: [at('latin.csv')], faulty: 'skip' })).documents).toEqual(['h\u00e9'])
    writeFileSync(at('double.csv'), 'text,text\na,b\n')
    await expect(read({ sources: [at('double.csv')], faulty: 'skip' })).rejects.toMatchObject({ code: 'CSV_INVALID' })
  })

  it('lists its sources once for a checked definition, and anew for options of its own', async () => {
    mkdirSync(at('once'))
    writeFileSync(at('once/a.jsonl'), jsonl(['a']))
    const options = { sources: [at('once')] }
    expect(readCorpusStage.reads?.({ ...options, order: 'name' })).toEqual([at('once/a.jsonl')])
    writeFileSync(at('once/b.jsonl'), jsonl(['b']))
    expect((await read(options)).documents).toEqual(['a'])
    expect((await read({ sources: [at('once')] })).documents).toEqual(['a', 'b'])
  })
})
