/** Texts of web archives: conversion records and plain responses; other records are counted, damage is located. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { DocumentBatch } from '#src/formats/batches'
import { type ReadCorpusOptions, readCorpus } from '#src/stages/read-corpus'
import { documentTexts, gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()

function record(type: string, block: string | Uint8Array, fields: readonly string[] = []): Buffer {
  const head = ['WARC/1.0', `WARC-Type: ${type}`, `Content-Length: ${Buffer.from(block).length}`, ...fields, '', '']
  return Buffer.concat([Buffer.from(head.join('\r\n')), Buffer.from(block), Buffer.from('\r\n\r\n')])
}
const http = (body: string | Uint8Array, ...fields: string[]): Buffer =>
  Buffer.concat([Buffer.from(['HTTP/1.1 200 OK', ...fields, '', ''].join('\r\n')), Buffer.from(body)])

/** A file of records, each in a gzip member of its own, as crawls write them. */
function archive(name: string, records: readonly Uint8Array[]): string {
  const path = join(folder, name)
  const parts = name.endsWith('.gz') ? records.map(bytes => gzipSync(bytes)) : records
  writeFileSync(path, Buffer.concat(parts))
  return path
}

async function read(options: Omit<ReadCorpusOptions, 'sources'> & { readonly path: string }) {
  const { path, ...others } = options
  const stage = readCorpus({ sources: [path], ...others })
  const batches = await gather<DocumentBatch>(stage)
  const lines = batches.flatMap(({ origin }) => [...origin.lines].map(line => origin.firstLine + line))
  return { texts: documentTexts(batches), lines, rejected: stage.stats.rejected, notes: stage.stats.notes.join() }
}

const plain = 'Content-Type: text/plain'

describe('a web archive', () => {
  it.each(['a.warc', 'a.warc.gz', 'a.warc.wet.gz', 'a.wet'])(
    'gives the texts of %s and counts the rest',
    async name => {
      const path = archive(name, [
        record('warcinfo', 'software: x\r\n'),
        record('conversion', 'first 日本\n'),
        record('response', http('<p>', 'Content-Type: text/html; charset=utf-8')),
        record('response', http('second', plain)),
        record('resource', 'third', [plain]),
        record('conversion', ''),
      ])
      const { texts, lines, notes } = await read({ path })
      expect(texts).toEqual(['first 日本\n', 'second', 'third', ''])
      expect(lines).toEqual([2, 4, 5, 6])
      expect(notes).toContain('1 warcinfo, 1 response text/html')
    },
  )

  it('undoes chunks, compression and other charsets of plain responses', async () => {
    const path = archive('encoded.warc', [
      record('response', http('3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n', plain, 'Transfer-Encoding: chunked')),
      record('response', http(gzipSync('packed'), plain, 'Content-Encoding: gzip')),
      record('response', http(Buffer.from([0xe9]), `${plain}; charset="ISO-8859-1"`)),
      record('response', http('?', plain, 'Content-Encoding: zzz')),
    ])
    expect(await read({ path })).toMatchObject({ texts: ['abcde', 'packed', 'é'], notes: /encoding zzz/ })
  })

  it('offers address, date and fields to a filter', async () => {
    const fields = ['WARC-Target-URI: http://a/', 'WARC-Date: 2026-01-02T03:04:05Z', 'X-Own: 1']
    const path = archive('fields.wet', [record('conversion', 'text', fields)])
    const field = '.url + " " + .date + " " + .headers["x-own"] + " " + .text'
    expect((await read({ path, field })).texts).toEqual(['http://a/ 2026-01-02T03:04:05Z 1 text'])
    await expect(read({ path, field: '.languages' })).rejects.toMatchObject({
      code: 'FIELD_NOT_TEXT',
      where: { line: 1 },
    })
  })

  it('reports damage with file and offset, and continues after it', async () => {
    const good = record('conversion', 'good')
    const bad = record('conversion', 'bad').toString()
    for (const [damage, code] of [
      [Buffer.from(bad.replace('Length: 3', 'Length: 2')), 'WARC_INVALID'],
      [Buffer.from(bad.replace('Content-Length: 3\r\n', '')), 'WARC_INVALID'],
      [record('conversion', Buffer.from([0xff])), 'UTF8_INVALID'],
      [record('conversion', 'x'.repeat(200)), 'LINE_TOO_LONG'],
      [record('response', http('5\r\nab', plain, 'Transfer-Encoding: chunked')), 'WARC_INVALID'],
      [record('response', http('no gzip', plain, 'Content-Encoding: gzip')), 'WARC_INVALID'],
      [record('response', http(gzipSync('x'.repeat(200)), plain, 'Content-Encoding: gzip')), 'WARC_INVALID'],
    ] as const) {
      const path = archive('damaged.warc.gz', [good, damage, good])
      const where = { file: path, line: 2, byteOffset: good.length }
      await expect(read({ path, max_record_bytes: 150 }), code).rejects.toMatchObject({ code, where })
      const skipped = await read({ path, max_record_bytes: 150, faulty: 'skip' })
      expect(skipped, code).toMatchObject({ texts: ['good', 'good'], rejected: 1 })
    }
    const huge = archive('huge.wet', [good, Buffer.from(bad.replace('Length: 3', 'Length: 9000000000000000'))])
    await expect(read({ path: huge })).rejects.toMatchObject({ code: 'WARC_INVALID', where: { line: 2 } })
  })
})
