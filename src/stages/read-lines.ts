/**
 * Byte chunks of any size -> batches of whole lines, byte-exact. A line ends at LF; a CR before it belongs to the line.
 * A line over the limit is a faulty record and does not affect the lines after it. Costs one pass over the bytes.
 */
import * as z from 'zod'
import { requireText } from '../files/source-format.js'
import type { LineBatch, LineCursor } from '../formats/batches.js'
import { DEFAULT_LINE_BYTES, LineSplitter } from '../formats/jsonl.js'
import {
  checkFaultOptions,
  FaultHandler,
  faultOptions,
  faultOptionsMessage,
  withFaultHandler,
} from './stream/fault-handler.js'
import { type TransformStage, transform } from './stream/stage.js'
import { defineStage, quarantineOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const readLinesOptions = z
  .strictObject({
    max_line_bytes: z
      .int()
      .positive()
      .default(DEFAULT_LINE_BYTES)
      .describe('maximum length of a line; longer lines are faulty records'),
    limit: z.int().positive().optional().describe('stop after this many lines'),
    source: z.string().default('-').describe('name of the input in messages; the runner sets it to the file'),
    offset: z
      .int()
      .nonnegative()
      .default(0)
      .describe('offset of the first byte in that file, for positions of lines; the runner sets it'),
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type ReadLinesOptions = z.input<typeof readLinesOptions>

export const readLinesStage = defineStage({
  name: 'read-lines',
  summary: 'splits bytes into batches of whole lines, byte-exact',
  accepts: 'bytes',
  emits: 'lines',
  options: readLinesOptions,
  resumable: true,
  create: readLines,
  writes: quarantineOf,
})

/** @throws LINE_TOO_LONG; UNSUPPORTED if the first bytes are those of another format */
export function readLines(options: ReadLinesOptions = {}): TransformStage<Uint8Array, LineBatch> {
  const checked = parseOptions(readLinesOptions, options, 'read-lines')
  const { source, max_line_bytes: maxLineBytes, limit, offset } = checked
  return transform(readLinesStage, (input, context) =>
    withFaultHandler(new FaultHandler(checked, 'read-lines', context), async function* (faults) {
      const { journal, stats } = context
      const resumed = journal?.cursor<LineCursor>()
      const from = resumed ?? { byteOffset: offset, line: 1 }
      if (resumed !== undefined) stats.bytesIn = from.byteOffset
      const splitter = new LineSplitter({ source, maxLineBytes, from, ...(limit === undefined ? {} : { limit }) })
      const reportLongLines = async (): Promise<void> => {
        for (const { line, byteOffset, head } of splitter.takeLongLines()) {
          const message = `the line is longer than ${maxLineBytes} bytes (max_line_bytes)`
          await faults.handle({ code: 'LINE_TOO_LONG', message, file: source, line, byteOffset, record: head })
        }
      }
      let isStart = from.byteOffset === 0
      for await (const chunk of input) {
        if (isStart) requireText(source, chunk, true)
        isStart = false
        for (const batch of splitter.push(chunk)) {
          await reportLongLines()
          yield { ...batch, mark: journal?.markAfter(batch.byteLength, () => splitter.cursor) }
          if (splitter.full) return
        }
        await reportLongLines()
      }
      for (const last of splitter.finish()) yield last
      await reportLongLines()
    }),
  )
}
