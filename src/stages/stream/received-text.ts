/** Plain text in an HTTP response, as a web archive stores it: undoes chunks and compression, converts to UTF-8. */
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { endOfFields, parseFields } from '../../formats/archives/warc-records.js'
import { concatBytes } from '../../formats/bytes.js'

const LF = 10

const DECODERS: Readonly<Record<string, (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array>> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
}

/**
 * @param block consecutive parts of the response
 * @returns the text as UTF-8; the kind of a response that holds none, such as `response text/html`
 * Throws on text that cannot be decoded, or that exceeds `maxBytes`.
 */
export function receivedText(block: readonly Uint8Array[], maxBytes: number): Uint8Array | string {
  const isWhole = block[0] !== undefined && endOfFields(block[0]) !== undefined
  const start = isWhole ? block[0]! : concatBytes(block)
  const bodyAt = endOfFields(start)
  if (bodyAt === undefined) return 'response without a header'
  const fields = parseFields(start.subarray(0, bodyAt))
  const [type = '', ...parameters] = (fields.get('content-type') ?? '').toLowerCase().split(';')
  if (type.trim() !== 'text/plain') return `response ${type.trim() || 'without a type'}`
  let body = (isWhole ? concatBytes(block) : start).subarray(bodyAt)
  if (fields.get('transfer-encoding')?.toLowerCase() === 'chunked') body = withoutChunks(body)
  const encoding = fields.get('content-encoding')?.toLowerCase() ?? 'identity'
  if (encoding !== 'identity') {
    const decode = DECODERS[encoding]
    if (decode === undefined) return `response in the encoding ${encoding}`
    body = decode(body, { maxOutputLength: maxBytes })
  }
  const charset = parameters.map(parameter => /^\s*charset\s*=\s*"?([\w.:-]+)/.exec(parameter)?.[1]).find(Boolean)
  if (charset === undefined || /^(utf-?8|us-ascii)$/.test(charset)) return body
  return new TextEncoder().encode(new TextDecoder(charset, { fatal: true }).decode(body))
}

/** Each chunk is its size in hex, a line end, that many bytes and a line end; a size of 0 ends the body. */
function withoutChunks(bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = []
  for (let at = 0; ; ) {
    const end = bytes.indexOf(LF, at)
    const size =
      end < 0 ? Number.NaN : Number.parseInt(String.fromCharCode(...bytes.subarray(at, Math.min(end, at + 16))), 16)
    if (Number.isNaN(size) || end + 1 + size > bytes.length) throw new Error('a chunk is cut off')
    if (size === 0) return concatBytes(parts)
    parts.push(bytes.subarray(end + 1, end + 1 + size))
    at = bytes.indexOf(LF, end + 1 + size) + 1
    if (at === 0) throw new Error('a chunk is cut off')
  }
}
