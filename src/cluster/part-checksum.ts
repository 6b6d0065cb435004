/** Checksum of an output of a shard, from its bytes. */
import { open } from 'node:fs/promises'
import { toPenstockError } from '../errors.js'
import { yieldIfDue } from '../files/event-loop.js'
import { readAt } from '../files/read-at.js'
import { BlockChecksums } from '../formats/checksum.js'
import { PBIN_HEADER_BYTES } from '../formats/pbin.js'
import type { ShardOutput } from './plan-file.js'
import { checksumOf, type OutputRecord } from './shard-record.js'

const CHUNK_BYTES = 1 << 20

/** @throws FILE_MISSING, FILE_UNREADABLE */
export async function readPart(
  path: string,
  { stage }: ShardOutput,
  signal?: AbortSignal,
): Promise<Pick<OutputRecord, 'bytes' | 'checksum'>> {
  const handle = await open(path).catch(error => {
    throw toPenstockError(error, 'FILE_MISSING', { file: path })
  })
  try {
    const checksums = new BlockChecksums()
    const chunk = new Uint8Array(CHUNK_BYTES)
    // The checksums of a packed file begin after its header.
    let bytes = stage === 'write-pbin' ? PBIN_HEADER_BYTES : 0
    for (;;) {
      await yieldIfDue()
      signal?.throwIfAborted()
      const read = await readAt({ path, handle }, chunk, bytes)
      if (read === 0) return { bytes, checksum: checksumOf(checksums.finish()) }
      checksums.update(chunk.subarray(0, read))
      bytes += read
    }
  } finally {
    await handle.close()
  }
}
