import { linkSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openPackedFiles } from '#src/files/packed-file'
import { encodePbinHeader } from '#src/formats/pbin'
import { concatPbin, shuffleDocuments, shuffleLines } from '#src/stages/index'
import { gather, temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const FILES = 400
const EMPTY_INDEX = Uint8Array.of(0x80, 4, 0x5d, 0x94, 0x2e)

/** Links to one file, which cost nothing to make. */
function links(name: string, content: Uint8Array): string[] {
  writeFileSync(at(name), content)
  const paths = Array.from({ length: FILES }, (_, number) => at(`${number}-${name}`))
  for (const path of paths) linkSync(at(name), path)
  return paths
}

const openDescriptors = (): number => readdirSync('/proc/self/fd').length

describe.runIf(process.platform === 'linux')('many input files', () => {
  // One document of the tokens 1, 2 and 3: (0, 3) is pickled as a tuple of two small integers.
  const index = Uint8Array.of(0x80, 4, 0x5d, 0x94, 0x4b, 0, 0x4b, 3, 0x86, 0x94, 0x61, 0x2e)
  const packed = Buffer.concat([encodePbinHeader({ dataBytes: 3, tokenBytes: 1 }), Uint8Array.of(1, 2, 3), index])

  it.each([
    ['concat-pbin', () => concatPbin({ paths: links('c.pbin', packed) })],
    ['shuffle-documents', () => shuffleDocuments({ paths: links('d.pbin', packed), seed: 1 })],
    ['shuffle-lines', () => shuffleLines({ paths: links('l.jsonl', Buffer.from('{}\n')), seed: 1 })],
  ])('need few descriptors: %s', async (_name, open) => {
    const before = openDescriptors()
    let highest = 0
    const stream = open()
    const timer = setInterval(() => {
      highest = Math.max(highest, openDescriptors())
    }, 1)
    stream.on('data', () => {
      highest = Math.max(highest, openDescriptors())
    })
    const items = await gather<{ lengths?: Uint32Array; starts?: Uint32Array }>(stream)
    clearInterval(timer)
    const records = items.reduce((sum, { lengths, starts }) => sum + (lengths ?? starts)!.length, 0)
    expect(records).toBe(FILES)
    expect(highest - before).toBeLessThan(150)
    expect(openDescriptors()).toBeLessThanOrEqual(before)
  })
})

describe('a packed file', () => {
  it('that is replaced between two reads is an error', async () => {
    const content = Buffer.concat([encodePbinHeader({ dataBytes: 2, tokenBytes: 1 }), Uint8Array.of(1, 2), EMPTY_INDEX])
    writeFileSync(at('one.pbin'), content)
    const { files, close } = await openPackedFiles([at('one.pbin')])
    writeFileSync(at('other.pbin'), content)
    renameSync(at('other.pbin'), at('one.pbin'))
    expect(() => files[0]!.readTokens(0, 2)).toThrow(expect.objectContaining({ code: 'FILE_CHANGED' }))
    close()
  })
})
