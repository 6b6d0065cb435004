/** Rows of a table as lines of JSON, so that a filter sees a row as it sees a JSONL record. */
import type { LineBatch } from './batches.js'

const encoder = new TextEncoder()

/** @param firstRow row of the file that the first record is, from 0 */
export function rowsAsLines(
  rows: readonly Readonly<Record<string, unknown>>[],
  file: string,
  firstRow: number,
  number: number,
): LineBatch {
  const texts = rows.map(row => encoder.encode(toJson(row)))
  const bytes = new Uint8Array(texts.reduce((sum, text) => sum + text.length + 1, 0)).fill(10)
  const starts = new Uint32Array(rows.length)
  const ends = new Uint32Array(rows.length)
  let at = 0
  for (const [index, text] of texts.entries()) {
    bytes.set(text, at)
    starts[index] = at
    ends[index] = at + text.length
    at += text.length + 1
  }
  const lines = Uint32Array.from(rows, (_, index) => index)
  const byteLength = bytes.byteLength
  return {
    kind: 'lines',
    number,
    byteLength,
    byteOffset: 0,
    source: file,
    bytes,
    starts,
    ends,
    firstLine: firstRow + 1,
    lines,
  }
}

/** As JSON.stringify, but 64-bit integers keep all digits and bytes become base64. */
function toJson(value: unknown): string {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array) return JSON.stringify(btoa(latin1Of(value)))
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`
  if (typeof value === 'object' && value !== null && !(value instanceof Date)) {
    return `{${Object.entries(value)
      .map(([key, inner]) => `${JSON.stringify(key)}:${toJson(inner)}`)
      .join(',')}}`
  }
  return JSON.stringify(value) ?? 'null'
}

function latin1Of(bytes: Uint8Array): string {
  let text = ''
  // In parts: every byte is an argument, of which a call takes some 100,000.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return text
}
