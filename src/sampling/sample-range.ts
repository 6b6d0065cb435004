/**
 * Chooses a range of the samples of several files, and the tokens that it covers in each file. Samples are numbered over
 * all files in order; no sample crosses from one file into the next.
 */
import type { TokenRange } from '../formats/batches.js'
import { blockGeometry } from './block.js'

/** What `from` and `to` divide: the samples of all files together, the samples of each file, or the documents of each file. */
export const RANGE_UNITS = ['all', 'file', 'documents'] as const
export type RangeUnit = (typeof RANGE_UNITS)[number]

/** How samples are cut and chosen; `from` and `to` are fractions. */
export interface SampleSelection {
  readonly sequence_length: number
  readonly reuse_last_target: boolean
  readonly from: number
  readonly to: number
  /** Default: all. */
  readonly range?: RangeUnit
}

/** A packed file; `tokens` limits it to those of the chosen documents, where the range divides documents. */
export interface SampledFile {
  readonly path: string
  readonly tokenCount: number
  readonly tokens?: { readonly start: number; readonly end: number } | undefined
}

/** Consecutive samples of one file. */
export interface FilePart {
  /** Index of the file. */
  readonly file: number
  /** Number of the first sample among the chosen ones of all files. */
  readonly firstSample: number
  /** Position of the first sample's first token in the file. */
  readonly firstToken: number
  readonly count: number
}

export interface ChosenSamples {
  /** Files without a chosen sample are left out. */
  readonly parts: readonly FilePart[]
  /** Number of the first chosen sample among all samples; 0 unless the range is one of all files together. */
  readonly first: number
  readonly count: number
  /** Tokens per sample. */
  readonly block: number
  /** Distance between the starts of consecutive samples, in tokens. */
  readonly stride: number
}

/** @throws DATA_TOO_SMALL for a file with fewer tokens than one sample */
export function chooseSamples(files: readonly SampledFile[], selection: SampleSelection): ChosenSamples {
  const { sequence_length, reuse_last_target, range = 'all' } = selection
  const geometries = files.map(({ tokenCount }) => blockGeometry(tokenCount, sequence_length, reuse_last_target))
  const { block, stride } = geometries[0]!
  const total = geometries.reduce((sum, { count }) => sum + count, 0)
  const [first, end] = range === 'all' ? bounds(selection, total) : [0, total]
  const parts: FilePart[] = []
  let [firstOfFile, chosen] = [0, 0]
  for (const [file, { count: samples }] of geometries.entries()) {
    const own = [Math.max(first - firstOfFile, 0), Math.min(end - firstOfFile, samples)] as const
    const { firstToken, count } = partOf(files[file]!, range === 'all' ? own : bounds(selection, samples), selection)
    if (count > 0) parts.push({ file, firstSample: chosen, firstToken, count })
    chosen += Math.max(0, count)
    firstOfFile += samples
  }
  return { parts, first, count: chosen, block, stride }
}

/** The tokens of each file that the chosen samples cover. @throws DATA_TOO_SMALL */
export function chosenRanges(files: readonly SampledFile[], selection: SampleSelection): TokenRange[] {
  const { parts, stride } = chooseSamples(files, selection)
  return parts.map(({ file, firstToken, count }) => {
    return { path: files[file]!.path, start: firstToken, end: firstToken + count * stride, stride }
  })
}

/** Number of samples that start in the ranges. */
export function samplesIn(ranges: readonly TokenRange[]): number {
  return ranges.reduce((sum, { start, end, stride }) => sum + (end - start) / stride, 0)
}

function bounds({ from, to }: SampleSelection, count: number): readonly [start: number, end: number] {
  return [Math.round(from * count), Math.round(to * count)]
}

/** Samples [start, end) of the whole file, or all that fit into the tokens of its chosen documents. */
function partOf(
  { tokens }: SampledFile,
  [start, end]: readonly [number, number],
  { sequence_length, reuse_last_target }: SampleSelection,
): { readonly firstToken: number; readonly count: number } {
  if (tokens === undefined) return { firstToken: start * sequence_length, count: end - start }
  const spare = tokens.end - tokens.start - (reuse_last_target ? 1 : 0)
  return { firstToken: tokens.start, count: Math.max(0, Math.floor(spare / sequence_length)) }
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
      if (sharesDocuments(range, other, isSameFile)) return other
      if (end - start < Math.max(range.stride, other.stride) || !isSameFile(range.path, other.path)) continue
      return { path: other.path, start, end, stride: other.stride }
    }
  }
  return undefined
}

/** Whether two ranges are of the same documents through different files: a packed file and a .pack of it, or two of these. */
function sharesDocuments(
  range: TokenRange,
  other: TokenRange,
  isSameFile: (path: string, other: string) => boolean,
): boolean {
  const [files, others] = [range, other].map(({ path, documentsOf = [path] }) => documentsOf) as [string[], string[]]
  const isRowed = range.documentsOf !== undefined || other.documentsOf !== undefined
  if (!isRowed || isSameFile(range.path, other.path)) return false
  return files.some(file => others.some(path => isSameFile(file, path)))
}
