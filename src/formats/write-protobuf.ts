/**
 * A minimal writer of the protobuf wire format, for W&B files, TensorBoard event files and TensorFlow graphs. A message is a
 * list of fields, each a tag (field number and wire type) and a value.
 */
import { concatBytes } from './bytes.js'

const WIRE_VARINT = 0
const WIRE_64_BIT = 1
const WIRE_LENGTH = 2
const WIRE_32_BIT = 5

const utf8 = new TextEncoder()

/** An int32, int64 or bool up to 2^53; negative numbers as 64-bit two's complement. */
export function intField(field: number, value: number): Uint8Array {
  return concatBytes([tag(field, WIRE_VARINT), varint(BigInt.asUintN(64, BigInt(value)))])
}

export function doubleField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value, true)
  return concatBytes([tag(field, WIRE_64_BIT), bytes])
}

export function floatField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setFloat32(0, value, true)
  return concatBytes([tag(field, WIRE_32_BIT), bytes])
}

export function stringField(field: number, value: string): Uint8Array {
  return bytesField(field, utf8.encode(value))
}

/** A nested message. */
export function messageField(field: number, ...fields: readonly Uint8Array[]): Uint8Array {
  return bytesField(field, concatBytes(fields))
}

/** Bytes, or encoded messages. */
export function bytesField(field: number, value: Uint8Array): Uint8Array {
  return concatBytes([tag(field, WIRE_LENGTH), varint(BigInt(value.byteLength)), value])
}

function tag(field: number, wireType: number): Uint8Array {
  return varint(BigInt((field << 3) | wireType))
}

/** Varint: seven bits per byte, lowest first; the high bit is set on all bytes but the last. */
function varint(value: bigint): Uint8Array {
  const bytes: number[] = []
  let rest = value
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    bytes.push(rest === 0n ? low : low | 0x80)
  } while (rest !== 0n)
  return Uint8Array.from(bytes)
}
