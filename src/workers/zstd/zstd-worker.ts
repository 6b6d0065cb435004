/**
 * Worker that decompresses one Zstandard file with the WebAssembly decoder. That decoder repeats a call without end when it
 * rejects its input, so each call is counted, and it receives one header, block or checksum at a time.
 */
import { workerData } from 'node:worker_threads'
import { ZSTDDecoder } from 'zstddec/stream'
import { PenstockError } from '../../errors.js'
import { undecodable, ZstdFrameScanner, type ZstdUnit } from '../../formats/archives/zstd-frames.js'
import { WHOLE_TASK } from '../heartbeat.js'
import { workerFunction } from '../worker-function.js'

export interface ZstdSetup {
  /** Name of the file, for errors. */
  readonly file: string
  /** Different for every run: a worker keeps the state of its file between tasks. */
  readonly run: number
}

export interface ZstdTask {
  /** The next compressed bytes; empty to continue with those of the previous task. */
  readonly bytes: Uint8Array
  readonly isLast: boolean
}

export interface ZstdReply {
  readonly chunks: readonly Uint8Array[]
  /** Whether further tasks must pass no input before the output is complete. */
  readonly hasMore: boolean
}

/** Output of one task. */
const OUTPUT_BYTES = 2 << 20
/** Calls that the decoder may need for one unit; a correct one needs two or three. */
const MAX_CALLS_PER_UNIT = 16

const { file } = workerData as ZstdSetup
const scanner = new ZstdFrameScanner(file)
let units: Iterator<ZstdUnit> = scanner.push(new Uint8Array(0))
/** Set before each call of the decoder, which requests its input synchronously. */
let upcoming: ZstdUnit | undefined
let current: ZstdUnit | undefined
let calls = 0
let isEnded = false
let output: Iterator<Uint8Array> | undefined

function* decoderInput(): Generator<Uint8Array> {
  while (upcoming !== undefined) {
    current = upcoming
    upcoming = undefined
    calls = 0
    yield current.bytes
  }
}

function nextUnit(): ZstdUnit | undefined {
  const { done, value } = units.next()
  return done ? undefined : value
}

export const decompress = workerFunction(async ({ bytes, isLast }: ZstdTask, heartbeat): Promise<ZstdReply> => {
  heartbeat.begin(WHOLE_TASK, OUTPUT_BYTES + bytes.byteLength)
  if (output === undefined) {
    const decoder = new ZSTDDecoder()
    await decoder.init()
    output = decoder.decodeStreaming(decoderInput())
  }
  if (bytes.byteLength > 0) units = scanner.push(bytes)
  if (isLast && !isEnded) {
    scanner.end()
    isEnded = true
  }
  const chunks: Uint8Array[] = []
  for (let size = 0; size < OUTPUT_BYTES; ) {
    upcoming ??= nextUnit()
    if (upcoming === undefined && !isEnded) return { chunks, hasMore: false }
    const chunk = decodeNext(output)
    if (chunk === undefined) return { chunks, hasMore: false }
    if (chunk.byteLength > 0) chunks.push(chunk)
    size += chunk.byteLength
  }
  return { chunks, hasMore: true }
})

/** Output of one call of the decoder; undefined at the end. @throws FILE_UNREADABLE */
function decodeNext(decoded: Iterator<Uint8Array>): Uint8Array | undefined {
  try {
    const { done, value } = decoded.next()
    if (done) return undefined
    if (++calls <= MAX_CALLS_PER_UNIT) return value
  } catch (error) {
    throw error instanceof PenstockError ? error : undecodable(current!, file, error)
  }
  throw undecodable(current!, file)
}
