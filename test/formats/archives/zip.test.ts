import { describe, expect, test } from 'vitest'
import { bytesBeforeData, findZipDirectory, readZipDirectory } from '#src/formats/archives/zip'
import { wheelFile } from '../../fixtures/zip/wheel.js'

describe('the central directory of a ZIP file written by Python', () => {
  test('is found before a comment and locates each entry', () => {
    const { byteOffset, bytes } = findZipDirectory(wheelFile)
    const entries = readZipDirectory(wheelFile.subarray(byteOffset, byteOffset + bytes))
    expect(entries).toEqual([
      { name: 'tensorflow/libtensorflow_cc.so.2', deflated: true, packedBytes: 13, bytes: 160, byteOffset: 0 },
      { name: 'tensorflow/include/tensorflow/c/c_api.h', deflated: false, packedBytes: 6, bytes: 6, byteOffset: 75 },
      { name: 'tensorflow/python/leave.py', deflated: true, packedBytes: 3, bytes: 1, byteOffset: 150 },
    ])
    const header = entries[1]!
    const start = header.byteOffset + bytesBeforeData(wheelFile.subarray(header.byteOffset))
    expect(Buffer.from(wheelFile.subarray(start, start + header.bytes)).toString()).toBe('header')
  })

  test('is reported missing in a truncated file', () => {
    expect(() => findZipDirectory(wheelFile.subarray(0, -1))).toThrow(
      expect.objectContaining({ code: 'FILE_UNREADABLE' }),
    )
  })

  test('is rejected when damaged or with an unsupported compression method', () => {
    const { byteOffset, bytes } = findZipDirectory(wheelFile)
    const directory = wheelFile.slice(byteOffset, byteOffset + bytes)
    for (const [at, value] of [
      [0, 0],
      [10, 12],
    ]) {
      const damaged = directory.slice()
      damaged[at!] = value!
      expect(() => readZipDirectory(damaged)).toThrow(expect.objectContaining({ code: 'FILE_UNREADABLE' }))
    }
  })
})
