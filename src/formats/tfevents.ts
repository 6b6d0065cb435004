/**
 * TensorBoard event files: TFRecord frames with one protobuf `Event` each. All numbers are little-endian.
 *
 * | offset | bytes  | type   | meaning                            |
 * | ------ | ------ | ------ | ---------------------------------- |
 * | 0      | 8      | uint64 | length n of the payload            |
 * | 8      | 4      | uint32 | masked CRC-32C of the length       |
 * | 12     | n      | bytes  | Event                              |
 * | 12 + n | 4      | uint32 | masked CRC-32C of the payload      |
 *
 * Event { 1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary { 1: Value { 1: tag, 2: float } },
 * 7: SessionLog { 1: status } };
 * the first event of a file contains only the version. Source: tensorflow/core/util/event.proto, record_writer.cc.
 */
import { concatBytes } from './bytes.js'
import { crc32c } from './crc32.js'
import { doubleField, floatField, intField, messageField, stringField } from './write-protobuf.js'

const MASK_DELTA = 0xa282ead8
/** SessionLog.SessionStatus.START */
const SESSION_START = 1

/** The first record of every event file. @param wallTime in seconds since 1970 */
export function tfeventsStart(wallTime: number): Uint8Array {
  return frame(concatBytes([doubleField(1, wallTime), stringField(3, 'brain.Event:2')]))
}

/**
 * The start of a session: readers drop what earlier files of the folder have for this and later steps.
 * @param wallTime in seconds since 1970
 */
export function tfeventsSessionStart(wallTime: number, step: number): Uint8Array {
  return frame(concatBytes([doubleField(1, wallTime), intField(2, step), messageField(7, intField(1, SESSION_START))]))
}

/** A record with the scalars of a step. @param wallTime in seconds since 1970 */
export function tfeventsScalars(
  wallTime: number,
  step: number,
  scalars: Iterable<readonly [string, number]>,
): Uint8Array {
  const values = Array.from(scalars, ([tag, value]) => messageField(1, stringField(1, tag), floatField(2, value)))
  return frame(concatBytes([doubleField(1, wallTime), intField(2, step), messageField(5, ...values)]))
}

function frame(payload: Uint8Array): Uint8Array {
  const length = new Uint8Array(8)
  new DataView(length.buffer).setBigUint64(0, BigInt(payload.byteLength), true)
  return concatBytes([length, masked(length), payload, masked(payload)])
}

/** Masks a checksum (rotates and offsets it), since it may itself be part of checksummed data. */
function masked(bytes: Uint8Array): Uint8Array {
  const crc = crc32c(bytes)
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, ((crc >>> 15) | (crc << 17)) + MASK_DELTA, true)
  return out
}
