/**
 * Reads the central directory at the end of a ZIP file; little-endian. Sufficient for Python wheels: no encryption, no
 * ZIP64. Source: APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16.
 *
 *   end record        offset  bytes        entry              offset  bytes
 *   signature              0  4 PK\5\6     signature               0  4 PK\1\2
 *   directory's bytes     12  4            method                 10  2 (0 stored, 8 deflated)
 *   directory's offset    16  4            packed bytes           20  4
 *   comment's bytes       20  2            bytes                  24  4
 *                                          bytes of name          28  2
 *   local header                           of extra, of comment   30  2 + 2
 *   bytes of name         26  2            local header's offset  42  4
 *   bytes of extra        28  2            name                   46
 */
import { PenstockError } from '../../errors.js'

const endBytes = 22
/** Size of the end of a file that contains the end record with a comment of any length. */
export const zipTailBytes = endBytes + 0xffff
/** Size of the fixed part of the local header before each entry's data. */
export const localHeaderBytes = 30

export interface ZipEntry {
  readonly name: string
  readonly deflated: boolean
  readonly packedBytes: number
  readonly bytes: number
  /** Offset of the local header. */
  readonly byteOffset: number
}

/**
 * Locates the central directory, from the last bytes of the file.
 * @throws FILE_UNREADABLE if they do not belong to a ZIP file
 */
export function findZipDirectory(tail: Uint8Array): { readonly byteOffset: number; readonly bytes: number } {
  const view = viewOf(tail)
  for (let at = tail.length - endBytes; at >= 0; at--) {
    if (view.getUint32(at, true) === 0x06054b50 && view.getUint16(at + 20, true) === tail.length - at - endBytes) {
      return { byteOffset: view.getUint32(at + 16, true), bytes: view.getUint32(at + 12, true) }
    }
  }
  throw new PenstockError('FILE_UNREADABLE', 'not a ZIP file, or a truncated one: no central directory found')
}

/** @throws FILE_UNREADABLE for a damaged directory or a compression method that wheels do not use */
export function readZipDirectory(directory: Uint8Array): ZipEntry[] {
  const view = viewOf(directory)
  const entries: ZipEntry[] = []
  let at = 0
  while (at < directory.length) {
    if (at + 46 > directory.length || view.getUint32(at, true) !== 0x02014b50) {
      throw new PenstockError('FILE_UNREADABLE', 'the central directory is damaged', { byteOffset: at })
    }
    const nameEnd = at + 46 + view.getUint16(at + 28, true)
    const name = new TextDecoder().decode(directory.subarray(at + 46, nameEnd))
    const method = view.getUint16(at + 10, true)
    if (method !== 0 && method !== 8) {
      throw new PenstockError(
        'FILE_UNREADABLE',
        `${name} is compressed with method ${method}; only 0 and 8 are supported`,
      )
    }
    entries.push({
      name,
      deflated: method === 8,
      packedBytes: view.getUint32(at + 20, true),
      bytes: view.getUint32(at + 24, true),
      byteOffset: view.getUint32(at + 42, true),
    })
    at = nameEnd + view.getUint16(at + 30, true) + view.getUint16(at + 32, true)
  }
  return entries
}

/** Size of an entry's local header, from its fixed part. */
export function bytesBeforeData(localHeader: Uint8Array): number {
  const view = viewOf(localHeader)
  return localHeaderBytes + view.getUint16(26, true) + view.getUint16(28, true)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
