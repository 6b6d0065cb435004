/**
 * Bytes of JSON that is not JSONL -> one line per record. Records are the elements of an array, at the top level or under a
 * key, or concatenated values. Values are copied as they are, without the white space between their tokens, so byte offsets
 * refer to the output.
 */
import * as z from 'zod'
import type { LineBatch } from '../formats/batches.js'
import { JsonSplitter } from '../formats/json-split.js'
import { DEFAULT_LINE_BYTES, LineSplitter } from '../formats/jsonl.js'
import { type TransformStage, transform } from './stream/stage.js'
import { defineStage } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const BATCH_BYTES = 1 << 19
const LF = 10

const splitJsonOptions = z.strictObject({
  shape: z
    .enum(['array', 'values'])
    .default('array')
    .describe('layout of the input: one array of records, or concatenated values'),
  pick: z.string().min(1).optional().describe('path of the array in the document, such as data.items'),
  max_record_bytes: z
    .int()
    .positive()
    .default(DEFAULT_LINE_BYTES)
    .describe('maximum size of a record; a larger one fails the run'),
  source: z.string().default('-').describe('name of the input in messages; the runner sets it to the file'),
})
export type SplitJsonOptions = z.input<typeof splitJsonOptions>

export const splitJsonStage = defineStage({
  name: 'split-json',
  summary: 'splits a JSON array or concatenated JSON values into lines',
  accepts: 'bytes',
  emits: 'lines',
  options: splitJsonOptions,
  create: splitJson,
})

/** @throws JSON_INVALID, UTF8_INVALID, LINE_TOO_LONG; OPTION_INVALID if nothing in the input matches `pick` */
export function splitJson(options: SplitJsonOptions = {}): TransformStage<Uint8Array, LineBatch> {
  const {
    shape,
    pick,
    max_record_bytes: maxRecordBytes,
    source,
  } = parseOptions(splitJsonOptions, options, 'split-json')
  return transform(splitJsonStage, async function* (input) {
    const lines = new LineSplitter({ source, maxLineBytes: Number.MAX_SAFE_INTEGER })
    const records = new JsonSplitter({ shape, path: pick?.split('.') ?? [], maxRecordBytes, source })
    const pending = new LineBuffer()
    for await (const chunk of input) {
      for (const record of records.push(chunk)) {
        pending.add(record)
        if (pending.byteLength >= BATCH_BYTES) yield* lines.push(pending.take())
      }
    }
    for (const record of records.finish()) pending.add(record)
    yield* lines.push(pending.take())
  })
}

/** Concatenates records, each followed by a line feed. */
class LineBuffer {
  byteLength = 0
  private bytes = new Uint8Array(2 * BATCH_BYTES)

  add(record: Uint8Array): void {
    const end = this.byteLength + record.byteLength + 1
    if (end > this.bytes.byteLength) {
      const larger = new Uint8Array(2 * end)
      larger.set(this.bytes.subarray(0, this.byteLength))
      this.bytes = larger
    }
    this.bytes.set(record, this.byteLength)
    this.bytes[end - 1] = LF
    this.byteLength = end
  }

  /** The lines so far, in memory of the caller. */
  take(): Uint8Array {
    const lines = this.bytes.slice(0, this.byteLength)
    this.byteLength = 0
    return lines
  }
}
