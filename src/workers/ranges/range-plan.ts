/** Divides a file into ranges, which workers process independently of each other. */
import { readFully } from '../../files/read-at.js'
import { requireText, SIGNATURE_BYTES } from '../../files/source-format.js'
import { planFrames } from './frame-plan.js'
import { planParquet } from './parquet-plan.js'
import type { PlannedFile, PlannedRange, SourcePosition } from './planned-range.js'

/** @throws FILE_UNREADABLE; PARQUET_INVALID, FIELD_MISSING, FIELD_NOT_TEXT */
export function planRanges(file: PlannedFile, from: SourcePosition): AsyncGenerator<PlannedRange> {
  const { format } = file
  if (format === 'lines') return planLines(file, from)
  return format === 'parquet' ? planParquet(file, file.field ?? [], from) : planFrames(file, format, from)
}

async function* planLines(file: PlannedFile, { byteOffset }: SourcePosition): AsyncGenerator<PlannedRange> {
  const { path, handle, stats, maxLineBytes, rangeBytes, to = stats.size } = file
  if (byteOffset === 0) await requireTextFile(file)
  for (let start = byteOffset; start < to; start += rangeBytes) {
    const end = Math.min(to, start + rangeBytes)
    const place = { descriptor: handle.fd, file: path, fileBytes: stats.size, start, end, maxLineBytes }
    yield { part: { kind: 'file', ...place }, next: { byteOffset: end } }
  }
}

/** @throws UNSUPPORTED for a file of another format, regardless of its name */
async function requireTextFile({ path, handle }: PlannedFile): Promise<void> {
  const head = new Uint8Array(SIGNATURE_BYTES)
  requireText(path, head.subarray(0, await readFully({ path, handle }, head, 0)), true)
}
