/** Documents of plain text files: whole or by line, with every byte that is not UTF-8 located. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { DocumentBatch } from '#src/formats/batches'
import { type ReadTextOptions, readText } from '#src/stages/read-text'
import { documentTexts, gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()

function file(name: string, content: string | Uint8Array): string {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

async function read(options: ReadTextOptions) {
  const stage = readText(options)
  const batches = await gather<DocumentBatch>(stage)
  const lines = batches.flatMap(({ origin }) => [...origin.lines].map(line => origin.firstLine + line))
  return { texts: documentTexts(batches), lines, rejected: stage.stats.rejected }
}

describe('read-text', () => {
  it('takes a file as one document, without its byte order mark', async () => {
    expect((await read({ path: file('a.txt', '\ufeffone\r\n\r\ntwo\n') })).texts).toEqual(['one\r\n\r\ntwo\n'])
  })

  it('takes each line that is not blank as a document, without its line end', async () => {
    const content = '\ufeffone\r\n\r\n \t\n  two \nthree'
    for (const path of [file('b.txt', content), file('b.txt.GZ', gzipSync(content))]) {
      const { texts, lines } = await read({ path, per: 'line' })
      expect(texts).toEqual(['one', '  two ', 'three'])
      expect(lines).toEqual([1, 4, 5])
    }
  })

  it('locates the first byte that is not UTF-8, and rejects only its document', async () => {
    const path = file('latin.txt', Buffer.concat([Buffer.from('日本\nab'), Buffer.from([0xe9]), Buffer.from('c\nd')]))
    await expect(read({ path })).rejects.toMatchObject({ code: 'UTF8_INVALID', where: { line: 1, byteOffset: 9 } })
    await expect(read({ path, per: 'line' })).rejects.toMatchObject({ where: { file: path, line: 2, byteOffset: 9 } })
    expect(await read({ path, per: 'line', faulty: 'skip' })).toMatchObject({ texts: ['日本', 'd'], rejected: 1 })
  })

  it('rejects a text over the limit as a record', async () => {
    const path = file('long.txt', `short\n${'x'.repeat(3 << 20)}\nend`)
    await expect(read({ path, max_record_bytes: 100 })).rejects.toMatchObject({ code: 'LINE_TOO_LONG' })
    expect(await read({ path, max_record_bytes: 100, faulty: 'skip' })).toMatchObject({ texts: [], rejected: 1 })
    const lines = await read({ path, max_record_bytes: 100, per: 'line', faulty: 'skip' })
    expect(lines).toMatchObject({ texts: ['short', 'end'], rejected: 1 })
  })

  it.each([
    ['UTF-16 with a byte order mark', Buffer.from('\ufefftext', 'utf16le')],
    ['UTF-16 without one', Buffer.from('text', 'utf16le')],
    ['gzip under another name', gzipSync('text')],
    ['PDF', '%PDF-1.7'],
  ])('names %s', async (_, content) => {
    await expect(read({ path: file('other.txt', content), faulty: 'skip' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    })
  })
})
