/** Divides a file into ranges, which workers process independently of each other. */
import { planFrames } from './frame-plan.js'
import { planParquet } from './parquet-plan.js'
import type { PlannedFile, PlannedRange, SourcePosition } from './planned-range.js'

/** @throws FILE_UNREADABLE; PARQUET_INVALID, FIELD_MISSING, FIELD_NOT_TEXT */
export function planRanges(
  file: PlannedFile,
  from: SourcePosition,
): AsyncIterable<PlannedRange> | Iterable<PlannedRange> {
  const { format } = file
  if (format === 'lines') return planLines(file, from)
  return format === 'parquet' ? planParquet(file, file.field ?? [], from) : planFrames(file, format, from)
}

function* planLines(file: PlannedFile, { byteOffset }: SourcePosition): Generator<PlannedRange> {
  const { path, handle, stats, maxLineBytes, rangeBytes, to = stats.size } = file
  for (let start = byteOffset; start < to; start += rangeBytes) {
    const end = Math.min(to, start + rangeBytes)
    const place = { descriptor: handle.fd, file: path, fileBytes: stats.size, start, end, maxLineBytes }
    yield { part: { kind: 'file', ...place }, next: { byteOffset: end } }
  }
}
