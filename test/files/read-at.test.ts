/** Short reads, which network file systems may give at any time, and errors without a text in Node. */
import { openSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { PenstockError, toPenstockError } from '#src/errors'
import { AppendFile } from '#src/files/append-file'
import { OutputLock } from '#src/files/output-lock'
import { readAll, readFully, readFullySync } from '#src/files/read-at'
import { closeSource } from '#src/files/source-file'
import { fingerprint } from '#src/files/sources/file-fingerprint'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const path = join(folder, 'file')
const content = Buffer.from(Array.from({ length: 5 << 20 }, (_, at) => (at * 7919) % 251))
writeFileSync(path, content)

const probe = await open(path)
const handlePrototype = Object.getPrototypeOf(probe) as FileHandle
await probe.close()

/** A handle whose reads return at most `most` bytes. */
const short = (handle: FileHandle, most: number) =>
  ({
    read: (into: Uint8Array, offset: number, length: number, position: number | null) =>
      handle.read(into, offset, Math.min(length, most), position),
  }) as FileHandle

const quota = Object.assign(new Error('Unknown system error -122: Unknown system error -122, close'), { errno: -122 })
const failingClose = async (handle: FileHandle): Promise<FileHandle> => {
  await handle.close()
  handle.close = () => Promise.reject(quota)
  return handle
}

describe('short reads', () => {
  it('fill the buffer all the same, up to the end of the file', async () => {
    const handle = await open(path)
    const into = Buffer.alloc(1000)
    expect(await readFully({ path, handle: short(handle, 7) }, into, content.length - 990)).toBe(990)
    expect(into.subarray(0, 990).equals(content.subarray(-990))).toBe(true)
    expect(readFullySync({ path, fd: openSync(path, 'r') }, into, 3)).toBe(1000)
    await handle.close()
  })

  it('do not end a whole file early', async () => {
    const whole = join(folder, 'whole')
    for (const bytes of [0, 1, 70_000]) {
      writeFileSync(whole, content.subarray(0, bytes))
      const read = handlePrototype.read as (this: FileHandle, ...args: unknown[]) => ReturnType<FileHandle['read']>
      vi.spyOn(handlePrototype, 'read').mockImplementation(function (this: FileHandle, ...args: unknown[]) {
        const [into, offset, length, position] = args
        return read.call(this, into, offset, Math.min(Number(length), 1000), position)
      } as never)
      expect((await readAll(whole)).equals(content.subarray(0, bytes))).toBe(true)
      vi.restoreAllMocks()
    }
  })

  it('do not change the fingerprint of a file', async () => {
    const handle = await open(path)
    const whole = await fingerprint({ path, handle }, content.length)
    expect(await fingerprint({ path, handle: short(handle, 5000) }, content.length)).toEqual(whole)
    await handle.close()
  })
})

describe('a failing close', () => {
  it('names the file that was read', async () => {
    const handle = await failingClose(await open(path))
    await expect(closeSource(path, handle)).rejects.toMatchObject({ code: 'FILE_UNREADABLE', where: { file: path } })
  })

  it('names the output that was written', async () => {
    const output = join(folder, 'out')
    const lock = await OutputLock.acquire(output)
    const file = await AppendFile.create(lock, `${output}.part`)
    await failingClose((file as unknown as { handle: FileHandle }).handle)
    await expect(file.close()).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
      message: expect.stringContaining('EDQUOT: disk quota exceeded'),
      where: { file: output },
    })
  })
})

it('an error number that Node does not know has a text', () => {
  expect(toPenstockError(quota, 'FILE_UNWRITABLE').message).toBe('EDQUOT: disk quota exceeded, close')
  const unknown = new Error('Unknown system error -999: Unknown system error -999, write')
  expect(toPenstockError(unknown, 'FILE_UNWRITABLE')).toBeInstanceOf(PenstockError)
  expect(toPenstockError(unknown, 'FILE_UNWRITABLE').message).toBe('system error 999, write')
})
