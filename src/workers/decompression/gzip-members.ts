/**
 * Gzip members (RFC 1952) decompressed one at a time, with the position of each error.
 *
 * | part    | bytes | content                                                                                  |
 * | ------- | ----- | ---------------------------------------------------------------------------------------- |
 * | header  | 10    | 1F 8B, method 8, flags (bit 1 checksum, 2 extra field, 3 name, 4 comment), 6 bytes       |
 * | extra   | 2 + n | u16 size, then subfields: two letters, u16 size, data. BC of BGZF: u16 member size - 1   |
 * | strings | n     | name and comment, each up to a zero; then u16 checksum of the header                     |
 * | content | n     | deflate                                                                                  |
 * | trailer | 8     | u32 CRC-32 and u32 size of the content                                                   |
 */
import * as zlib from 'node:zlib'
import { PenstockError } from '../../errors.js'
import { crc32 as ownCrc32 } from '../../formats/crc32.js'
import { trailingBytes } from './decompress-gzip.js'

/** In Node from 20.15 on. */
const crc32 = (zlib as { crc32?: (bytes: Uint8Array) => number }).crc32 ?? ((bytes: Uint8Array) => ownCrc32(bytes))

const TRAILER_BYTES = 8
/** Bytes to read of a member for `bgzfMemberBytes`. */
export const BGZF_HEADER_BYTES = 18
/** Content of a BGZF member. */
export const MAX_BGZF_TEXT_BYTES = 64 << 10

/** Size of a BGZF member, from its first bytes; undefined for any other. */
export function bgzfMemberBytes(bytes: Uint8Array): number | undefined {
  if (bytes.byteLength < BGZF_HEADER_BYTES || !isMember(bytes, 0) || (bytes[3]! & 4) === 0) return undefined
  const isFirstField = bytes[12] === 0x42 && bytes[13] === 0x43 && bytes[14] === 2 && bytes[15] === 0
  return isFirstField ? (bytes[16]! | (bytes[17]! << 8)) + 1 : undefined
}

/** Thrown for members with more content than allowed. */
export const MEMBER_TOO_LARGE = Symbol('the content of a gzip member is larger than allowed')

/**
 * @param bytes complete members, padded with zeros or not
 * @param offset of the first byte in the file
 * @param maxBytes most content of all members
 * @throws FILE_UNREADABLE; MEMBER_TOO_LARGE
 */
export function* gunzipMembers(
  file: string,
  bytes: Uint8Array,
  offset: number,
  maxBytes: number,
): Generator<Uint8Array> {
  if (bytes.byteLength === 0) throw new PenstockError('FILE_UNREADABLE', 'the file is empty', { file, byteOffset: 0 })
  let left = maxBytes
  for (let at = 0; at < bytes.byteLength; ) {
    if (!isMember(bytes, at)) {
      const stray = bytes.subarray(at).findIndex(byte => byte !== 0)
      if (stray < 0 && at > 0) return
      if (at > 0) throw trailingBytes(file, offset + at + stray)
      throw new PenstockError('FILE_UNREADABLE', 'not a gzip file', { file, byteOffset: offset })
    }
    const { content, byteLength } = gunzipMember(file, bytes.subarray(at), offset + at, left)
    left -= content.byteLength
    at += byteLength
    yield content
  }
}

const isMember = (bytes: Uint8Array, at: number): boolean =>
  bytes[at] === 0x1f && bytes[at + 1] === 0x8b && bytes[at + 2] === 8

function gunzipMember(file: string, bytes: Uint8Array, byteOffset: number, maxBytes: number) {
  const damaged = (reason: string, cause?: unknown): PenstockError =>
    new PenstockError('FILE_UNREADABLE', `the gzip member ${reason}`, { file, byteOffset }, cause)
  const start = headerBytes(bytes)
  const { buffer: content, engine } = inflate(bytes.subarray(start), maxBytes, damaged)
  const end = start + engine.bytesWritten
  if (end + TRAILER_BYTES > bytes.byteLength) throw damaged('ends early')
  const trailer = new DataView(bytes.buffer, bytes.byteOffset + end, TRAILER_BYTES)
  if (trailer.getUint32(0, true) !== crc32(content)) throw damaged('has a checksum that does not match its content')
  if (trailer.getUint32(4, true) !== content.byteLength) throw damaged('has another size than its trailer says')
  return { content, byteLength: end + TRAILER_BYTES }
}

/** Result of zlib's functions with `info`. */
interface Inflated {
  readonly buffer: Uint8Array
  readonly engine: { readonly bytesWritten: number }
}

function inflate(bytes: Uint8Array, maxBytes: number, damaged: (reason: string, cause: unknown) => Error): Inflated {
  try {
    const options = { info: true, maxOutputLength: Math.max(1, maxBytes) }
    return zlib.inflateRawSync(bytes, options) as unknown as Inflated
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw MEMBER_TOO_LARGE
    const isShort = (error as NodeJS.ErrnoException).code === 'Z_BUF_ERROR'
    throw damaged(isShort ? 'ends early' : `is damaged: ${(error as Error).message}`, error)
  }
}

function headerBytes(bytes: Uint8Array): number {
  const flags = bytes[3]!
  let at = 10
  if (flags & 4) at += 2 + (bytes[at]! | (bytes[at + 1]! << 8))
  for (const flag of [8, 16]) if (flags & flag) at = bytes.indexOf(0, at) + 1 || bytes.byteLength
  return at + (flags & 2 ? 2 : 0)
}
