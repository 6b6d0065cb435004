/** Worker that decompresses one Zstandard file with the WebAssembly decoder. */
import { workerData } from 'node:worker_threads'
import { ZstdFrameScanner, type ZstdUnit } from '../../formats/archives/zstd-frames.js'
import { WHOLE_TASK } from '../heartbeat.js'
import { workerFunction } from '../worker-function.js'
import { ZstdUnitDecoder } from './zstd-unit-decoder.js'

export interface ZstdSetup {
  /** Name of the file, for errors. */
  readonly file: string
  /** Offset in the file of the first byte to decompress. */
  readonly offset: number
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

const { file, offset } = workerData as ZstdSetup
const scanner = new ZstdFrameScanner(file, offset)
let units: Iterator<ZstdUnit> = scanner.push(new Uint8Array(0))
let upcoming: ZstdUnit | undefined
let isEnded = false
let decoder: ZstdUnitDecoder | undefined

function nextUnit(): ZstdUnit | undefined {
  const { done, value } = units.next()
  return done ? undefined : value
}

export const decompress = workerFunction(async ({ bytes, isLast }: ZstdTask, heartbeat): Promise<ZstdReply> => {
  heartbeat.begin(WHOLE_TASK, OUTPUT_BYTES + bytes.byteLength)
  decoder ??= await ZstdUnitDecoder.open(file)
  if (bytes.byteLength > 0) units = scanner.push(bytes)
  if (isLast && !isEnded) {
    scanner.end()
    isEnded = true
  }
  const chunks: Uint8Array[] = []
  for (let size = 0; size < OUTPUT_BYTES; ) {
    upcoming ??= nextUnit()
    if (upcoming === undefined && !isEnded) return { chunks, hasMore: false }
    const chunk = decoder.next(upcoming)
    if (decoder.hasTaken) upcoming = undefined
    if (chunk === undefined) return { chunks, hasMore: false }
    if (chunk.byteLength > 0) chunks.push(chunk)
    size += chunk.byteLength
  }
  return { chunks, hasMore: true }
})
