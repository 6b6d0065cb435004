import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { wheelFile } from '../../../fixtures/zip/wheel.js'

// Without Python there is no pip: the index is queried directly.
vi.stubEnv('PENSTOCK_PYTHON', '/no/such/python')
const { downloadRequirements, downloadWheel } = await import('#src/training/tfjs/native/download')
const { unpackZip } = await import('#src/training/tfjs/native/unpack')

const wheel = {
  requirement: 'tensorflow-cpu==9.9',
  file: 'tensorflow_cpu-9.9-any.whl',
  sha256: createHash('sha256').update(wheelFile).digest('hex'),
  diskBytes: 1,
}
const htmlPage = `<a href="../../files/other.whl">other</a><a href="../../files/${wheel.file}#sha256=0">${wheel.file}</a>`
const jsonPage = JSON.stringify({ files: [{ url: `/files/${wheel.file}` }] })

let server: Server
let folder: string
let asked: { url: string | undefined; range: string | undefined; authorization: string | undefined }[]
let page: { type: string; text: string }
let contents: Uint8Array

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'penstock-test-'))
  asked = []
  page = { type: 'application/vnd.pypi.simple.v1+json', text: jsonPage }
  contents = wheelFile
  server = createServer((request, response) => {
    const { url, headers } = request
    asked.push({ url, range: headers.range, authorization: headers.authorization })
    if (url === '/simple/tensorflow-cpu/') {
      response.writeHead(200, { 'content-type': page.type }).end(page.text)
    } else if (url?.startsWith('/files/') && headers.range !== undefined) {
      const start = Number(/^bytes=(\d+)-$/.exec(headers.range)![1])
      response.writeHead(start < contents.length ? 206 : 416).end(contents.subarray(start))
    } else if (url?.startsWith('/files/')) {
      response.writeHead(200).end(contents)
    } else {
      response.writeHead(404).end()
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  vi.stubEnv('PIP_INDEX_URL', `http://me:secret@127.0.0.1:${(server.address() as AddressInfo).port}/simple/`)
})

afterEach(async () => {
  await new Promise(resolve => server.close(resolve))
  rmSync(folder, { recursive: true })
})

describe('without pip', () => {
  test.each([
    ['JSON', 'application/vnd.pypi.simple.v1+json', jsonPage],
    ['HTML', 'text/html', htmlPage],
  ])('a wheel is downloaded from an index with %s pages, with the credentials of its URL', async (_, type, text) => {
    page = { type, text }
    const path = await downloadWheel(wheel, folder)
    expect(readFileSync(path)).toEqual(Buffer.from(wheelFile))
    expect(asked.map(({ url }) => url)).toEqual(['/simple/tensorflow-cpu/', `/files/${wheel.file}`])
    expect(asked[0]!.authorization).toBe(`Basic ${btoa('me:secret')}`)
  })

  test.each([0, 40, wheelFile.length])('a download interrupted after %i bytes is resumed', async bytes => {
    writeFileSync(join(folder, `${wheel.file}.part`), wheelFile.subarray(0, bytes))
    const path = await downloadWheel(wheel, folder)
    expect(readFileSync(path)).toEqual(Buffer.from(wheelFile))
    expect(asked.at(-1)!.range).toBe(bytes === 0 ? undefined : `bytes=${bytes}-`)
    expect(existsSync(`${path}.part`)).toBe(false)
  })

  test('a wheel with another hash is rejected and removed', async () => {
    contents = wheelFile.slice().fill(1, 50, 51)
    await expect(downloadWheel(wheel, folder)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
    expect(existsSync(join(folder, wheel.file))).toBe(false)
  })

  test('a missing wheel, an unreachable index and a missing index have different errors', async () => {
    page = { type: 'text/html', text: '' }
    await expect(downloadWheel(wheel, folder)).rejects.toMatchObject({ code: 'FILE_MISSING' })
    vi.stubEnv('PIP_INDEX_URL', 'http://127.0.0.1:1/simple')
    await expect(downloadWheel(wheel, folder)).rejects.toMatchObject({ code: 'WORKER_FAILED' })
    vi.stubEnv('PIP_INDEX_URL', '')
    await expect(downloadWheel(wheel, folder)).rejects.toMatchObject({ code: 'PEER_MISSING' })
    await expect(downloadRequirements(['a'], folder)).rejects.toMatchObject({ code: 'PEER_MISSING' })
  })
})

test('only the selected entries of a wheel are extracted', async () => {
  const path = join(folder, 'a.whl')
  writeFileSync(path, wheelFile)
  await unpackZip(path, name => (name.endsWith('.py') ? undefined : join(folder, 'out', name)))
  const written = (name: string) => readFileSync(join(folder, 'out', 'tensorflow', name), 'utf8')
  expect(written('libtensorflow_cc.so.2')).toBe('library '.repeat(20))
  expect(written('include/tensorflow/c/c_api.h')).toBe('header')
  expect(existsSync(join(folder, 'out', 'tensorflow', 'python'))).toBe(false)
})
