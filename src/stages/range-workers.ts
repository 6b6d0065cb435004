/**
 * The workers of `read-ranges`, and what each gets to do. Apart from the stage, so that a command can start them first and
 * load the rest of its code while they load their tokenizer.
 */
import { stat } from 'node:fs/promises'
import type { FieldPath } from '../formats/json-scan.js'
import type { TokenBytes } from '../formats/pbin.js'
import type { RangePacking } from './range-worker.js'
import { askForTokenizer, tokenizerSetup } from './tokenizer-setup.js'
import { defaultWorkers, openWorkers, type Workers } from './worker-pool.js'

export const RANGE_WORKER = new URL('./range-worker.js', import.meta.url)
/** A range must hold a line of the limit's length, so the limit must not be below this. */
export const RANGE_BYTES = 2 << 20
const SMALLEST_RANGE_BYTES = 256 << 10
const RANGES_PER_WORKER = 4
/** What all workers together may have under way: a kill costs that much again. */
const MOST_UNDER_WAY_BYTES = 40 << 20

/** Whether a file's ending tells of compression: its bytes are then no lines. */
export const isPackedName = (path: string): boolean => /\.(gz|zst)$/.test(path)

export interface RangeWork {
  readonly fileBytes: number
  /** The number of cores when undefined. */
  readonly workers?: number | undefined
  /** Left out, lines are only checked. */
  readonly pack?:
    | {
        readonly field: FieldPath
        readonly tokenizer: string
        readonly end_of_document?: string | undefined
        readonly token_bytes?: TokenBytes | undefined
      }
    | undefined
}

export interface RangeWorkers {
  readonly workers: Workers
  readonly ranges: { readonly bytes: number; readonly workers: number }
  /** What they are set up for when they tokenize. */
  readonly setup: RangePacking | undefined
}

/** @throws FILE_MISSING when there is no such tokenizer */
export async function openRangeWorkers(
  { fileBytes, workers = defaultWorkers(), pack }: RangeWork,
  file: URL = RANGE_WORKER,
): Promise<RangeWorkers> {
  const ranges = rangesOf(fileBytes, workers)
  if (pack === undefined) return { workers: openWorkers({ file, workers: ranges.workers }), ranges, setup: undefined }
  const tokenizer = await tokenizerSetup(pack.tokenizer, pack.end_of_document)
  const setup: RangePacking = { ...tokenizer, path: pack.field, tokenBytes: pack.token_bytes }
  return { workers: openWorkers({ file, workers: ranges.workers, setup }), ranges, setup }
}

/**
 * Runs with the workers started that a plain file will ask for: `run` loads code meanwhile. What is wrong with the file or
 * the tokenizer is left for the run to say.
 */
export async function withRangeWorkers(
  path: string,
  work: Omit<RangeWork, 'fileBytes'>,
  run: () => Promise<void>,
): Promise<void> {
  const stats = await stat(path).catch(() => undefined)
  const isPlain = stats?.isFile() === true && !isPackedName(path)
  const opened = isPlain ? await openRangeWorkers({ fileBytes: stats.size, ...work }).catch(() => undefined) : undefined
  if (opened?.setup !== undefined) askForTokenizer(opened.workers, opened.setup).catch(() => {})
  try {
    await run()
  } finally {
    await opened?.workers.close()
  }
}

/** Ranges of RANGE_BYTES; smaller ones for many workers, and where a file is too small to keep all of them busy. */
function rangesOf(fileBytes: number, workers: number): { bytes: number; workers: number } {
  const share = Math.ceil(fileBytes / (workers * RANGES_PER_WORKER) / 4096) * 4096
  const most = Math.floor(MOST_UNDER_WAY_BYTES / (workers + 1) / 4096) * 4096
  const bytes = Math.max(SMALLEST_RANGE_BYTES, Math.min(RANGE_BYTES, most, share))
  return { bytes, workers: Math.max(1, Math.min(workers, Math.ceil(fileBytes / bytes))) }
}
