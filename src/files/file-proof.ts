/**
 * Proof that a temporary file is the one that a journal refers to: its inode or, since folders may be copied or restored,
 * the checksum of the last bytes before a known size.
 */
import * as z from 'zod'
import { toPenstockError } from '../errors.js'
import { crc32 } from '../formats/crc32.js'
import { type OpenFile, openPlain, readFully } from './read-at.js'

const CHECKED_BYTES = 4096

export const proofSchema = z.object({ inode: z.number(), bytes: z.number(), checksum: z.number() })
export type FileProof = z.output<typeof proofSchema>

/** @param bytes size of the part of the file that was written and flushed. @throws FILE_UNREADABLE */
export async function proofOf(file: OpenFile, inode: number, bytes: number): Promise<FileProof> {
  return { inode, bytes, checksum: await checksumBefore(file, bytes) }
}

/**
 * Whether a file is the proven one, is reachable under no second name, and has at least `bytes` bytes.
 * @returns its inode; undefined if it is not
 * @throws FILE_UNREADABLE if that cannot be found out
 */
export async function provenInode(path: string, proof: FileProof, bytes = proof.bytes): Promise<number | undefined> {
  const handle = await openPlain(path)
  if (handle === undefined) return undefined
  try {
    const stats = await handle.stat()
    if (!stats.isFile() || stats.nlink !== 1 || stats.size < bytes) return undefined
    if (stats.ino === proof.inode) return stats.ino
    const isSame = proof.bytes > 0 && (await checksumBefore({ path, handle }, proof.bytes)) === proof.checksum
    return isSame ? stats.ino : undefined
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  } finally {
    await handle.close().catch(() => {})
  }
}

async function checksumBefore(file: OpenFile, end: number): Promise<number> {
  const bytes = new Uint8Array(Math.min(CHECKED_BYTES, end))
  return crc32(bytes.subarray(0, await readFully(file, bytes, end - bytes.length)))
}
