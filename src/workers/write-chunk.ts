/** Writes bytes that other threads left in shared memory to a file, and continues its checksums. Runs in a worker. */
import { writeSync } from 'node:fs'
import { toPenstockError } from '../errors.js'
import { BlockChecksums, type ChecksumState } from '../formats/checksum.js'
import { type Heartbeat, WHOLE_TASK } from './heartbeat.js'

export interface ChunkTask {
  /** The output, for messages. */
  readonly file: string
  readonly descriptor: number
  /** Offset in the file. */
  readonly position: number
  /** Consecutive bytes. Views of shared memory are sent without copying. */
  readonly pieces: readonly Uint8Array[]
  readonly checksums: ChecksumState
  /** When the output's lock was last found to be held, in milliseconds since 1970. */
  readonly lockedAt: number
}

/** Reply instead of a state: nothing was written, because the process may have been suspended and lost its lock. */
export const LOCK_UNCERTAIN = 'lock uncertain'

/** Half the time after which another process may take over a lock. */
const MAX_LOCK_AGE_MS = 10_000

/** @throws FILE_UNWRITABLE */
export function writeChunk(
  { file, descriptor, position, pieces, checksums: state, lockedAt }: ChunkTask,
  heartbeat: Heartbeat,
): ChecksumState | typeof LOCK_UNCERTAIN {
  heartbeat.begin(
    WHOLE_TASK,
    pieces.reduce((sum, piece) => sum + piece.length, 0),
  )
  const checksums = new BlockChecksums(state)
  let at = position
  for (const piece of pieces) {
    checksums.update(piece)
    if (Math.abs(Date.now() - lockedAt) > MAX_LOCK_AGE_MS) return LOCK_UNCERTAIN
    try {
      for (let done = 0; done < piece.length; ) {
        const written = writeSync(descriptor, piece, done, piece.length - done, at)
        done += written
        at += written
      }
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file })
    }
  }
  return checksums.state()
}
