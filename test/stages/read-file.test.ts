import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync, closeSync, constants, openSync, renameSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { readFile } from '#src/stages/read-file'
import { gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const content = Buffer.from('0123456789'.repeat(3000))
const read = async (path: string, options = {}): Promise<Buffer> =>
  Buffer.concat(await gather<Uint8Array>(readFile({ path, chunk_bytes: 4096, ...options }) as never))

describe('read-file', () => {
  it('reads the bytes of a file', async () => {
    writeFileSync(at('plain'), content)
    expect((await read(at('plain'))).equals(content)).toBe(true)
    writeFileSync(at('empty'), '')
    expect(await read(at('empty'))).toHaveLength(0)
  })

  it('decompresses by extension or by option', async () => {
    writeFileSync(at('packed.gz'), gzipSync(content))
    expect((await read(at('packed.gz'))).equals(content)).toBe(true)
    expect((await read(at('packed.gz'), { compression: 'none' })).equals(content)).toBe(false)
  })

  it('names the file when an archive is damaged', async () => {
    writeFileSync(at('damaged.gz'), gzipSync(content).subarray(0, 60))
    await expect(read(at('damaged.gz'))).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      where: { file: at('damaged.gz') },
    })
  })

  it.runIf(process.platform === 'linux')('reads a pipe', async () => {
    execFileSync('mkfifo', [at('pipe')])
    spawn('sh', ['-c', `cat '${at('plain')}' > '${at('pipe')}'`])
    expect((await read(at('pipe'))).equals(content)).toBe(true)
  })

  it.runIf(process.platform === 'linux')(
    'closes while a pipe is silent',
    async () => {
      execFileSync('mkfifo', [at('silent')])
      const writer = openSync(at('silent'), constants.O_RDWR)
      const stage = readFile({ path: at('silent') })
      stage.on('error', () => {}).resume()
      await new Promise(resolve => setTimeout(resolve, 100))
      await new Promise(resolve => stage.on('close', resolve).destroy(new Error('enough')))
      closeSync(writer)
    },
    2000,
  )

  it.each([
    ['grows', (path: string) => appendFileSync(path, 'more')],
    ['shrinks', (path: string) => truncateSync(path, 9000)],
    [
      'is replaced',
      (path: string) => {
        writeFileSync(`${path}.new`, content)
        renameSync(`${path}.new`, path)
      },
    ],
  ])('fails when the file %s while it is read', async (_what, change) => {
    const path = at('changing')
    writeFileSync(path, content)
    const stream = readFile({ path, chunk_bytes: 4096 })
    const reading = (async () => {
      let chunks = 0
      for await (const _ of stream) if (++chunks === 1) change(path)
    })()
    await expect(reading).rejects.toMatchObject({ code: 'FILE_CHANGED', where: { file: path } })
  })

  it.each([
    ['a missing file', () => at('none'), 'FILE_MISSING'],
    ['a folder', () => folder, 'FILE_UNREADABLE'],
  ])('fails on %s', async (_what, path, code) => {
    await expect(read(path())).rejects.toMatchObject({ code })
  })
})
