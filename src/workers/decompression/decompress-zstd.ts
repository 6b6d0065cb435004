/**
 * Streaming Zstandard decompression: with Node's decoder (22.15 and later), which runs in Node's thread pool, otherwise with
 * a WebAssembly decoder in a worker thread. Damage of any kind is an error with the byte offset in the compressed file.
 */
import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { PenstockError } from '../../errors.js'
import { undecodable, ZstdFrameScanner, type ZstdUnit } from '../../formats/archives/zstd-frames.js'
import { WorkerDeath } from '../worker-function.js'
import { openWorkers } from '../worker-pool.js'
import type { ZstdReply, ZstdSetup, ZstdTask } from './zstd-worker.js'

const NO_BYTES = new Uint8Array(0)
/** A write must complete before its output is read, so the output of one block, at most 128 KiB, must fit. */
const BUFFER_SIZES = { chunkSize: 256 << 10, readableHighWaterMark: 1 << 20 }
let runs = 0

/**
 * @param file name for errors
 * @param offset in the file of the first compressed byte
 * @throws FILE_UNREADABLE, UNSUPPORTED; WORKER_DIED, WORKER_HUNG
 */
export function decompressZstd(
  file: string,
  compressed: AsyncIterable<Uint8Array>,
  offset = 0,
): AsyncGenerator<Uint8Array> {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: object) => Transform }
  if (createZstdDecompress === undefined) return decompressInWorker(file, compressed, offset)
  return decompressNatively(file, compressed, createZstdDecompress(BUFFER_SIZES), offset)
}

/** Exported for tests, which also run with a Node that has its own decoder. */
export async function* decompressInWorker(
  file: string,
  compressed: AsyncIterable<Uint8Array>,
  offset = 0,
): AsyncGenerator<Uint8Array> {
  const setup: ZstdSetup = { file, offset, run: runs++ }
  const workers = openWorkers({ file: new URL('./zstd-worker.js', import.meta.url), workers: 1, setup })
  const run = async (task: ZstdTask): Promise<ZstdReply> => {
    try {
      return await workers.run('decompress', task)
    } catch (error) {
      if (!(error instanceof WorkerDeath)) throw error
      throw new PenstockError(error.code, `decompression was terminated: ${error.message}`, { file }, error)
    }
  }
  async function* outputOf(bytes: Uint8Array, isLast = false): AsyncGenerator<Uint8Array> {
    let reply = await run({ bytes, isLast })
    while (reply.hasMore) {
      // The worker continues while the output is consumed.
      const following = run({ bytes: NO_BYTES, isLast })
      following.catch(() => {})
      yield* reply.chunks
      reply = await following
    }
    yield* reply.chunks
  }
  try {
    for await (const bytes of compressed) yield* outputOf(bytes)
    yield* outputOf(NO_BYTES, true)
  } finally {
    await workers.close()
  }
}

async function* decompressNatively(
  file: string,
  compressed: AsyncIterable<Uint8Array>,
  decoder: Transform,
  offset: number,
): AsyncGenerator<Uint8Array> {
  const scanner = new ZstdFrameScanner(file, offset)
  try {
    for await (const bytes of compressed) {
      for (const unit of scanner.push(bytes)) {
        await written(decoder, unit, file)
        for (let chunk = decoder.read(); chunk !== null; chunk = decoder.read()) yield chunk
      }
    }
    scanner.end()
  } finally {
    decoder.destroy()
  }
}

/** Node may report an error by the event alone, without calling back. */
function written(decoder: Transform, unit: ZstdUnit, file: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(undecodable(unit, file, error))
    decoder.once('error', fail)
    decoder.write(unit.bytes, error => {
      decoder.off('error', fail)
      if (error) fail(error)
      else resolve()
    })
  })
}
