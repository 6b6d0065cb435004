/**
 * The 32-bit checksums of metric files, table-driven, one byte at a time: CRC-32 (IEEE, as in zip) and CRC-32C
 * (Castagnoli). Not optimized, since records are short and not on a hot path.
 */
let ieee: Uint32Array | undefined
let castagnoli: Uint32Array | undefined

/** @param before checksum of the preceding bytes */
export function crc32(bytes: Uint8Array, before = 0): number {
  ieee ??= tableOf(0xedb88320)
  return checksum(ieee, bytes, before)
}

export function crc32c(bytes: Uint8Array): number {
  castagnoli ??= tableOf(0x82f63b78)
  return checksum(castagnoli, bytes, 0)
}

function checksum(table: Uint32Array, bytes: Uint8Array, before: number): number {
  let crc = ~before
  for (let at = 0; at < bytes.length; at++) crc = table[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

/** @param polynomial in reversed bit order */
function tableOf(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
    return crc
  })
}
