/**
 * Source: the lines of JSONL files, or of one chunk of each, in the order that Modalities produces for the same seed.
 * Memory is 16 bytes per line. A last line without a line feed counts as a line.
 */
import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { DescriptorPool } from '../files/descriptor-pool.js'
import { type OpenFile, readAt } from '../files/read-at.js'
import { checkSameFile, closeSource, openSource } from '../files/source-file.js'
import type { LineBatch } from '../formats/batches.js'
import { type RecordBatch, RecordTable, type RecordWalk } from './stream/record-table.js'
import { orderOptions, shuffleOrder } from './stream/shuffle-order.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage, pathsOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const LF = 10
const CHUNK_BYTES = 1 << 20

const shuffleLinesOptions = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).describe('JSONL files to shuffle together'),
  ...orderOptions,
})
export type ShuffleLinesOptions = z.input<typeof shuffleLinesOptions>

interface LineFile {
  readonly path: string
  readonly stats: Stats
}

export const shuffleLinesStage = defineStage({
  name: 'shuffle-lines',
  summary: 'lines of JSONL files, shuffled',
  emits: 'lines',
  options: shuffleLinesOptions,
  resumable: true,
  create: shuffleLines,
  reads: pathsOf,
})

/** @throws FILE_MISSING, FILE_CHANGED, DATA_TOO_SMALL for a chunk without lines */
export function shuffleLines(options: ShuffleLinesOptions): SourceStage<LineBatch> {
  const checked = parseOptions(shuffleLinesOptions, options, 'shuffle-lines')
  const { paths, chunk } = checked
  return source('shuffle-lines', async function* (context) {
    const pool = new DescriptorPool()
    const files: LineFile[] = []
    try {
      context.stats.counts.files = paths.length
      const table = new RecordTable()
      for (const path of paths) {
        const { handle, stats } = await openSource(path)
        try {
          files.push({ path, stats })
          await table.addFile(pool.add(path, stats), linesOf({ path, handle }), chunk)
        } finally {
          await closeSource(path, handle)
        }
      }
      if (table.count === 0 && chunk !== undefined) {
        throw new PenstockError('DATA_TOO_SMALL', `chunk ${chunk.number} of ${chunk.of} is empty: use fewer chunks`)
      }
      const name = paths.length === 1 ? paths[0]! : '-'
      let number = 0
      const { order, from, markAfter } = await shuffleOrder(table.count, checked, context)
      let next = from
      for await (const records of table.inOrder(order, context.signal, 1, from)) {
        next += records.records.length
        const batch = lineBatch(records, number++, name)
        yield { ...batch, mark: markAfter(batch.byteLength, next) }
      }
      for (const { path, stats: before } of files) {
        checkSameFile(path, before, await stat(path).catch(() => undefined))
      }
    } finally {
      pool.close()
    }
  })
}

/** Lines end at LF only, as in all stages; the LF is not part of the line. */
function linesOf(file: OpenFile): RecordWalk {
  return async visit => {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    let start = 0
    for (let position = 0; ; ) {
      const bytesRead = await readAt(file, chunk, position)
      if (bytesRead === 0) {
        if (position > start) visit(start, position - start)
        return
      }
      const bytes = chunk.subarray(0, bytesRead)
      for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF, end + 1)) {
        visit(start, position + end - start)
        start = position + end + 1
      }
      position += bytesRead
    }
  }
}

function lineBatch({ bytes, byteLengths, records }: RecordBatch, number: number, source: string): LineBatch {
  const starts = new Uint32Array(records.length)
  const ends = new Uint32Array(records.length)
  let at = 0
  for (const [index, byteLength] of byteLengths.entries()) {
    starts[index] = at
    ends[index] = at + byteLength
    bytes[at + byteLength] = LF
    at += byteLength + 1
  }
  return {
    kind: 'lines',
    number,
    byteLength: bytes.byteLength,
    bytes,
    byteOffset: 0,
    starts,
    ends,
    firstLine: 1,
    lines: records,
    source,
  }
}
