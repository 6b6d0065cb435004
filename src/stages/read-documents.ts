/**
 * Source: the text of one field for each line that an index lists; equivalent to `read-file`, `read-lines` and
 * `extract-text` on those lines. Reads the JSONL file once, in order, in segments of about one MiB.
 */
import { type FileHandle, stat } from 'node:fs/promises'
import { extname } from 'node:path'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'
import { readIndexManifest } from '../files/manifest.js'
import { readAt, readFully } from '../files/read-at.js'
import { checkUnchanged, closeSource, openSource } from '../files/source-file.js'
import { fingerprint, isSameFingerprint } from '../files/sources/file-fingerprint.js'
import type { DocumentBatch, LineBatch } from '../formats/batches.js'
import { createIndexReader } from '../formats/idx.js'
import { fieldOption, openTextExtractor } from './extract-text.js'
import {
  checkFaultOptions,
  FaultHandler,
  faultOptions,
  faultOptionsMessage,
  withFaultHandler,
} from './stream/fault-handler.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage, quarantineOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const INDEX_CHUNK_BYTES = 256 << 10
const SEGMENT_BYTES = 1 << 20

const readDocumentsOptions = z
  .strictObject({
    path: z.string().min(1).describe('the JSONL file'),
    index: z
      .string()
      .min(1)
      .optional()
      .describe('index of the file; defaults to the same path with the extension .idx'),
    field: fieldOption,
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type ReadDocumentsOptions = z.input<typeof readDocumentsOptions>

/** Default index path of a JSONL file: the extension replaced by .idx. */
export function indexPathOf(path: string): string {
  return `${path.slice(0, path.length - extname(path).length)}.idx`
}

export const readDocumentsStage = defineStage({
  name: 'read-documents',
  summary: 'texts of the lines of a JSONL file that its index lists',
  emits: 'documents',
  options: readDocumentsOptions,
  resumable: true,
  create: readDocuments,
  reads: ({ path, index = indexPathOf(path) }) => [path, index],
  writes: quarantineOf,
})

/** @throws FILE_MISSING, FILE_CHANGED, IDX_INVALID, PICKLE_INVALID, FIELD_MISSING, FIELD_NOT_TEXT */
export function readDocuments(options: ReadDocumentsOptions): SourceStage<DocumentBatch> {
  const checked = parseOptions(readDocumentsOptions, options, 'read-documents')
  const { path, index = indexPathOf(path), field } = checked
  return source('read-documents', context =>
    withFaultHandler(new FaultHandler(checked, 'read-documents', context), async function* (faults) {
      const extractor = await openTextExtractor(field)
      const { journal } = context
      try {
        for await (const lines of indexedLines(path, index, journal?.cursor<number>() ?? 0)) {
          const next = lines.firstLine - 1 + lines.starts.length
          const batch = { ...lines, mark: journal?.markAfter(lines.byteLength, () => next) }
          const extraction = await extractor.extract(batch)
          for (const fault of extraction.faults) await faults.handle(fault)
          yield extraction.documents
        }
      } finally {
        await extractor.close()
      }
    }),
  )
}

/** @param from number of index entries to skip */
async function* indexedLines(path: string, indexPath: string, from: number): AsyncGenerator<LineBatch> {
  const { handle, stats } = await openSource(path)
  try {
    await checkIndexMatches(path, handle, stats.size, indexPath)
    let number = 0
    let record = from
    for await (const entries of segments(indexPath, stats.size, from)) {
      const batch = await readSegment(handle, path, entries, number++, record)
      record += batch.starts.length
      yield batch
    }
    await checkUnchanged(path, handle, stats)
  } finally {
    await closeSource(path, handle)
  }
}

/** @throws FILE_CHANGED when the index belongs to another file or to an earlier version of this one */
async function checkIndexMatches(path: string, handle: FileHandle, bytes: number, indexPath: string): Promise<void> {
  const { size } = await stat(indexPath).catch(error => {
    throw toPenstockError(error, 'FILE_MISSING', { file: indexPath })
  })
  const indexed = (await readIndexManifest(indexPath, size))?.source
  if (indexed === undefined || isSameFingerprint(indexed, await fingerprint({ path, handle }, bytes))) return
  throw new PenstockError(
    'FILE_CHANGED',
    `the file changed after ${indexPath} was written: index it again, or remove the manifest if the index is still valid`,
    {
      file: path,
    },
  )
}

/**
 * Whether an index lists every line of its file, first to last.
 * @throws FILE_MISSING, FILE_CHANGED, IDX_INVALID, PICKLE_INVALID
 */
export async function indexCoversFile(path: string, indexPath: string): Promise<boolean> {
  const { handle, stats } = await openSource(path)
  try {
    await checkIndexMatches(path, handle, stats.size, indexPath)
  } finally {
    await closeSource(path, handle)
  }
  let next = 0
  let covers = true
  for await (const entries of segments(indexPath, stats.size)) {
    for (let entry = 0; covers && entry < entries.length; entry += 2) {
      covers = entries[entry] === next
      next = entries[entry]! + entries[entry + 1]! + 1
    }
    if (!covers) return false
  }
  // The last line may have no line feed.
  return next === stats.size || next === stats.size + 1
}

/** The index entries [offset, length, ...], grouped into segments of at most SEGMENT_BYTES of the file. */
async function* segments(indexPath: string, sourceBytes: number, from = 0): AsyncGenerator<readonly number[]> {
  const { handle } = await openSource(indexPath)
  try {
    let toSkip = from
    let entries: number[] = []
    let ready: number[][] = []
    const reader = createIndexReader(
      pairs => {
        const skipped = Math.min(toSkip, pairs.length / 2)
        toSkip -= skipped
        for (let entry = 2 * skipped; entry < pairs.length; entry += 2) {
          const end = pairs[entry]! + pairs[entry + 1]!
          if (entries.length > 0 && end - entries[0]! > SEGMENT_BYTES) {
            ready.push(entries)
            entries = []
          }
          entries.push(pairs[entry]!, pairs[entry + 1]!)
        }
      },
      { sourceBytes, where: { file: indexPath } },
    )
    const chunk = new Uint8Array(INDEX_CHUNK_BYTES)
    for (;;) {
      const bytesRead = await readAt({ path: indexPath, handle }, chunk, null)
      if (bytesRead === 0) break
      reader.feed(chunk.subarray(0, bytesRead))
      yield* ready
      ready = []
    }
    reader.end()
    if (entries.length > 0) yield entries
  } finally {
    await closeSource(indexPath, handle)
  }
}

async function readSegment(
  handle: FileHandle,
  path: string,
  entries: readonly number[],
  number: number,
  firstRecord: number,
): Promise<LineBatch> {
  const byteOffset = entries[0]!
  const bytes = Buffer.allocUnsafeSlow(entries.at(-2)! + entries.at(-1)! - byteOffset)
  if ((await readFully({ path, handle }, bytes, byteOffset)) < bytes.byteLength) {
    throw new PenstockError('FILE_CHANGED', 'the file ends before the last line that its index lists', {
      file: path,
      byteOffset,
    })
  }
  const count = entries.length / 2
  const starts = Uint32Array.from({ length: count }, (_, line) => entries[2 * line]! - byteOffset)
  return {
    kind: 'lines',
    number,
    byteLength: bytes.byteLength,
    bytes,
    byteOffset,
    starts,
    ends: starts.map((start, line) => start + entries[2 * line + 1]!),
    // An index has no line numbers: lines are numbered by their entries.
    firstLine: firstRecord + 1,
    lines: Uint32Array.from({ length: count }, (_, line) => line),
    source: path,
  }
}
