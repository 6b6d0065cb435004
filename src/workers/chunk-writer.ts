/**
 * Appends bytes in shared memory to an output from worker threads, so that neither writing nor checksums cost time of this
 * thread. The checksum of a block depends on all its bytes, so the chunks of one block are written one after the other, and
 * those of different blocks concurrently.
 */
import type { OutputFile } from '../files/output-file.js'
import type { TokenBatch } from '../formats/batches.js'
import { CHECKSUM_BLOCK_BYTES, type ChecksumState } from '../formats/checksum.js'
import { runWithoutPoison } from './poison-records.js'
import { openWorkers, type Workers, type WorkersOptions } from './worker-pool.js'
import { type ChunkTask, LOCK_UNCERTAIN } from './write-chunk.js'

/** Size of a chunk: a small one per thread, since it is memory that waits, up to a size beyond which larger ones gain nothing. */
const CHUNK_BYTES_PER_THREAD = 1 << 20
const MAX_CHUNK_BYTES = 4 << 20
/** Each piece keeps the memory of a whole range until it is written, however few tokens it has. */
const MAX_PIECES = 16
/** Chunks of few bytes that may wait for the threads, per thread. */
const CHUNKS_PER_THREAD = 2

const EMPTY_BLOCK: ChecksumState = { blocks: [], lanes: [0, 0, 0, 0], blockBytes: 0, rest: new Uint8Array(0) }

/** Tokens in memory that the named threads share. */
export interface SharedTokens extends TokenBatch {
  readonly threads?: WorkersOptions | undefined
}

interface Piece {
  readonly bytes: Uint8Array
  /** To be called when the bytes are written. */
  readonly release: () => void
}

/** A chunk that was given to the threads. */
interface Chunk {
  readonly byteLength: number
  /** Checksums of its block up to its end. */
  readonly written: Promise<ChecksumState>
}

/** Close it before the file. */
export class ChunkWriter {
  private readonly file: OutputFile
  private readonly threads: Workers
  private readonly chunkBytes: number
  /** Checksums of complete blocks; those of blocks in flight are missing. */
  private readonly blocks: number[]
  /** Number of the current block, and its bytes, including those that wait for a chunk. */
  private block: number
  private blockBytes: number
  /** Checksums of the current block up to the last chunk. */
  private current: Promise<ChecksumState>
  private waiting: Piece[] = []
  private waitingBytes = 0
  private readonly inFlight = new Set<Chunk>()
  private inFlightBytes = 0

  /**
   * @param pool threads whose module exports `writeChunk`
   * @param from checksums of the bytes before
   */
  constructor(file: OutputFile, pool: WorkersOptions, from: ChecksumState) {
    this.file = file
    this.threads = openWorkers(pool)
    this.chunkBytes = Math.min(MAX_CHUNK_BYTES, CHUNK_BYTES_PER_THREAD * this.threads.size)
    this.blocks = [...from.blocks]
    this.block = from.blocks.length
    this.blockBytes = from.blockBytes + from.rest.length
    this.current = Promise.resolve({ ...from, blocks: [] })
  }

  /**
   * Resolves when there is room for more, which may be before the bytes are written.
   * @param release called when they are
   * @throws FILE_UNWRITABLE, also for earlier bytes
   */
  async append(bytes: Uint8Array, release: () => void): Promise<void> {
    if (bytes.length === 0) return release()
    const room = CHECKSUM_BLOCK_BYTES - this.blockBytes
    if (bytes.length > room) {
      const halfDone = afterTwo(release)
      await this.append(bytes.subarray(0, room), halfDone)
      return this.append(bytes.subarray(room), halfDone)
    }
    this.waiting.push({ bytes, release })
    this.waitingBytes += bytes.length
    this.blockBytes += bytes.length
    const isFull = this.waitingBytes >= this.chunkBytes || this.waiting.length >= MAX_PIECES
    if (isFull || this.blockBytes === CHECKSUM_BLOCK_BYTES) await this.flush()
    const { size } = this.threads
    while (this.inFlightBytes > size * this.chunkBytes || this.inFlight.size > CHUNKS_PER_THREAD * size) {
      const [oldest] = this.inFlight
      await oldest!.written
    }
  }

  /** Gives all waiting bytes to the threads. @throws FILE_LOCKED, FILE_UNWRITABLE */
  async flush(): Promise<void> {
    if (this.waitingBytes === 0) return
    const place = await this.file.reserve(this.waitingBytes)
    const pieces = this.waiting
    this.add(
      this.waitingBytes,
      this.current.then(checksums =>
        this.write({ ...place, file: this.file.path, pieces: pieces.map(({ bytes }) => bytes), checksums }, pieces),
      ),
    )
    this.waiting = []
    this.waitingBytes = 0
    if (this.blockBytes === CHECKSUM_BLOCK_BYTES) this.endBlock()
  }

  /** Checksums of the flushed bytes, once all of them are written. @throws FILE_UNWRITABLE */
  async checksums(): Promise<ChecksumState> {
    const { block, current } = this
    for (const { written } of this.inFlight) await written
    return { ...(await current), blocks: this.blocks.slice(0, block) }
  }

  /** Waits for the threads, which use the file. */
  async close(): Promise<void> {
    await this.threads.close()
    await Promise.allSettled([...this.inFlight].map(({ written }) => written))
  }

  private add(byteLength: number, written: Promise<ChecksumState>): void {
    const chunk = { byteLength, written }
    this.inFlight.add(chunk)
    this.inFlightBytes += byteLength
    this.current = written
    const end = (): void => {
      this.inFlight.delete(chunk)
      this.inFlightBytes -= byteLength
    }
    // A chunk that failed stays, so that the next call reports it.
    written.then(end, () => {})
  }

  private endBlock(): void {
    const number = this.block++
    const noteChecksum = ({ blocks }: ChecksumState): void => {
      this.blocks[number] = blocks[0]!
    }
    this.current.then(noteChecksum, () => {})
    this.current = Promise.resolve(EMPTY_BLOCK)
    this.blockBytes = 0
  }

  private async write(task: Omit<ChunkTask, 'lockedAt'>, pieces: readonly Piece[]): Promise<ChecksumState> {
    let isMemoryUnused = true
    for (;;) {
      await this.file.ensureHeld()
      const message: ChunkTask = { ...task, lockedAt: Date.now() }
      const { reply } = await runWithoutPoison<ChecksumState | typeof LOCK_UNCERTAIN>(
        retry => {
          // A worker that was given up may still read the memory.
          if (retry.isolateRecords) isMemoryUnused = false
          return this.threads.run('writeChunk', message, { isUrgent: true })
        },
        { file: task.file },
      )
      if (reply === LOCK_UNCERTAIN) continue
      if (isMemoryUnused) for (const { release } of pieces) release()
      return reply
    }
  }
}

/** A function that calls another at its second call. */
function afterTwo(release: () => void): () => void {
  let calls = 0
  return () => {
    if (++calls === 2) release()
  }
}
