/** Texts as documents whose records are the texts themselves: for formats without lines. */
import type { DocumentBatch, LineBatch } from './batches.js'

/** Texts with their rows in the file, from 0. */
export type Documents = Pick<DocumentBatch, 'bytes' | 'offsets'> & { readonly rows: Uint32Array }

/**
 * Several documents as one.
 * @param allocate memory for the joined texts
 */
export function joinDocuments(
  parts: readonly Documents[],
  allocate = (byteLength: number): Uint8Array => new Uint8Array(byteLength),
): Documents {
  if (parts.length === 1) return parts[0]!
  const count = parts.reduce((sum, { rows }) => sum + rows.length, 0)
  const bytes = allocate(parts.reduce((sum, part) => sum + part.offsets.at(-1)!, 0))
  const offsets = new Uint32Array(count + 1)
  const rows = new Uint32Array(count)
  let [at, document] = [0, 0]
  for (const part of parts) {
    bytes.set(part.bytes.subarray(0, part.offsets.at(-1)), at)
    rows.set(part.rows, document)
    for (let index = 1; index < part.offsets.length; index++) offsets[++document] = at + part.offsets[index]!
    at += part.offsets.at(-1)!
  }
  return { bytes, offsets, rows }
}

/** A batch whose records are the texts themselves, numbered by their rows: faults found later name those. */
export function documentBatch({ bytes, offsets, rows }: Documents, file: string, number: number): DocumentBatch {
  const origin: LineBatch = {
    kind: 'lines',
    number,
    byteLength: bytes.byteLength,
    byteOffset: 0,
    source: file,
    bytes,
    starts: offsets.subarray(0, -1),
    ends: offsets.subarray(1),
    firstLine: 1,
    lines: rows,
  }
  return { kind: 'documents', number, byteLength: bytes.byteLength, bytes, offsets, origin }
}
