/**
 * The part of the protocol-buffer wire format that is needed to read the fields of a message by number: a sequence of keys
 * (field << 3 | wire type) and values. Wire types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes, little-endian.
 */
import { PenstockError } from '../../errors.js'

export interface Message {
  /** The last value of a length-delimited field. */
  bytes(field: number): Uint8Array | undefined
  messages(field: number): Message[]
  float(field: number): number | undefined
  integer(field: number): number | undefined
}

export function textOf(bytes: Uint8Array | undefined): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes ?? new Uint8Array(0))
}

/** @throws TOKENIZER_INVALID if the bytes end inside a field or have an unknown wire type */
export function readMessage(bytes: Uint8Array): Message {
  const delimited = new Map<number, Uint8Array[]>()
  const integers = new Map<number, number>()
  const floats = new Map<number, number>()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  const take = (length: number): number => {
    const start = at
    at += length
    if (at > bytes.length) throw new PenstockError('TOKENIZER_INVALID', 'the protocol buffer ends inside a field')
    return start
  }
  const varint = (): number => {
    let value = 0
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      const byte = bytes[take(1)]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    throw new PenstockError('TOKENIZER_INVALID', 'the protocol buffer has an unterminated varint')
  }
  while (at < bytes.length) {
    const key = varint()
    const field = Math.floor(key / 8)
    const wireType = key % 8
    if (wireType === 0) integers.set(field, varint())
    else if (wireType === 1) take(8)
    else if (wireType === 5) floats.set(field, view.getFloat32(take(4), true))
    else if (wireType === 2) {
      const length = varint()
      const start = take(length)
      const values = delimited.get(field) ?? []
      values.push(bytes.subarray(start, start + length))
      delimited.set(field, values)
    } else throw new PenstockError('TOKENIZER_INVALID', `the protocol buffer has the unknown wire type ${wireType}`)
  }
  return {
    bytes: field => delimited.get(field)?.at(-1),
    messages: field => (delimited.get(field) ?? []).map(readMessage),
    float: field => floats.get(field),
    integer: field => integers.get(field),
  }
}
