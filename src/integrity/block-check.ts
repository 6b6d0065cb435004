/** Compares a file with the checksums of its manifest and reports the blocks that differ. */
import { PenstockError } from '../errors.js'
import { yieldIfDue } from '../files/event-loop.js'
import { readAtSync } from '../files/read-at.js'
import { BlockChecksums, CHECKSUM_BLOCK_BYTES } from '../formats/checksum.js'
import type { Findings } from './findings.js'

const CHUNK_BYTES = 1 << 20

interface CheckedFile {
  readonly path: string
  readonly fd: number
  /** Offset of the first checksummed byte. */
  readonly from: number
  readonly fileBytes: number
  readonly checksums: readonly number[]
}

export async function checkBlocks(file: CheckedFile, findings: Findings): Promise<void> {
  const { path, from, fileBytes, checksums } = file
  const found = new BlockChecksums()
  const chunk = new Uint8Array(CHUNK_BYTES)
  for (let position = from; position < fileBytes; ) {
    await yieldIfDue()
    const read = readAtSync(file, chunk, position)
    if (read === 0) break
    found.update(chunk.subarray(0, read))
    position += read
  }
  found.finish().forEach((checksum, block) => {
    if (checksum === checksums[block]) return
    const start = from + block * CHECKSUM_BLOCK_BYTES
    const end = Math.min(fileBytes, start + CHECKSUM_BLOCK_BYTES)
    const message = `bytes ${start} to ${end} differ from what was written`
    findings.add('damaged', new PenstockError('FILE_DAMAGED', message, { file: path, byteOffset: start }))
  })
}
