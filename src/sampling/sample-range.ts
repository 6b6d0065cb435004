/**
 * Chooses a range of the samples of several files, and the tokens that it covers in each file. Samples are numbered over
 * all files in order; no sample crosses from one file into the next.
 */
import type { TokenRange } from '../formats/batches.js'
import { type BlockGeometry, blockGeometry, blockStart } from './block.js'

/** One file and the number of its first sample among all files. */
export interface FilePart {
  readonly geometry: BlockGeometry
  readonly firstSample: number
}

/** How samples are cut and chosen; `from` and `to` are fractions of the samples of all files. */
export interface SampleSelection {
  readonly sequence_length: number
  readonly reuse_last_target: boolean
  readonly from: number
  readonly to: number
}

/** @throws DATA_TOO_SMALL for a file with fewer tokens than one sample */
export function fileParts(
  tokenCounts: readonly number[],
  { sequence_length, reuse_last_target }: SampleSelection,
): FilePart[] {
  let firstSample = 0
  return tokenCounts.map(tokens => {
    const part = { geometry: blockGeometry(tokens, sequence_length, reuse_last_target), firstSample }
    firstSample += part.geometry.count
    return part
  })
}

/** The samples [first, first + count) between `from` and `to`. */
export function chosenSamples(
  parts: readonly FilePart[],
  { from, to }: SampleSelection,
): { readonly first: number; readonly count: number } {
  const total = parts.reduce((sum, { geometry }) => sum + geometry.count, 0)
  const first = Math.round(from * total)
  return { first, count: Math.round(to * total) - first }
}

/** The tokens of each file that the chosen samples cover; files without any are left out. @throws DATA_TOO_SMALL */
export function chosenRanges(
  files: readonly { readonly path: string; readonly tokenCount: number }[],
  selection: SampleSelection,
): TokenRange[] {
  const parts = fileParts(
    files.map(({ tokenCount }) => tokenCount),
    selection,
  )
  const { first, count } = chosenSamples(parts, selection)
  return parts.flatMap(({ geometry, firstSample }, index) => {
    const from = Math.max(first - firstSample, 0)
    const to = Math.min(first + count - firstSample, geometry.count)
    if (from >= to) return []
    const { stride } = geometry
    return [{ path: files[index]!.path, start: blockStart(geometry, from), end: blockStart(geometry, to), stride }]
  })
}

/**
 * The first range of `others` that shares a whole sample with one of `ranges`. Shorter overlaps come from rounding, where
 * the two have different sequence lengths.
 * @param isSameFile whether two paths lead to the same file
 */
export function overlapOf(
  ranges: readonly TokenRange[],
  others: readonly TokenRange[],
  isSameFile: (path: string, other: string) => boolean,
): TokenRange | undefined {
  for (const range of ranges) {
    for (const other of others) {
      const [start, end] = [Math.max(range.start, other.start), Math.min(range.end, other.end)]
      if (end - start < Math.max(range.stride, other.stride) || !isSameFile(range.path, other.path)) continue
      return { path: other.path, start, end, stride: other.stride }
    }
  }
  return undefined
}
