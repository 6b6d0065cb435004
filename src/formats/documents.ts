/** Texts as documents whose records are the texts themselves: for formats without lines. */
import type { DocumentBatch, LineBatch } from './batches.js'

/** Texts with their rows in the file, from 0. */
export type Documents = Pick<DocumentBatch, 'bytes' | 'offsets'> & { readonly rows: Uint32Array }

/** Several documents as one. */
export function joinDocuments(parts: readonly Documents[]): Documents {
  if (parts.length === 1) return parts[0]!
  const places = joinPlaces(parts)
  const bytes = new Uint8Array(places.offsets.at(-1)!)
  let at = 0
  for (const part of parts) {
    bytes.set(part.bytes.subarray(0, part.offsets.at(-1)), at)
    at += part.offsets.at(-1)!
  }
  return { bytes, ...places }
}

/** Offsets and rows of the texts of all parts, one after the other. */
export function joinPlaces(parts: readonly Omit<Documents, 'bytes'>[]): Omit<Documents, 'bytes'> {
  const count = parts.reduce((sum, { rows }) => sum + rows.length, 0)
  const offsets = new Uint32Array(count + 1)
  const rows = new Uint32Array(count)
  let [at, document] = [0, 0]
  for (const part of parts) {
    rows.set(part.rows, document)
    for (let index = 1; index < part.offsets.length; index++) offsets[++document] = at + part.offsets[index]!
    at += part.offsets.at(-1)!
  }
  return { offsets, rows }
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
