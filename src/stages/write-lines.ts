/** Lines -> a file with the same bytes, each line terminated by a line feed; written atomically. */
import * as z from 'zod'
import { ifExistsOption, type OutputFile, writeWhole } from '../files/output-file.js'
import type { LineBatch } from '../formats/batches.js'
import { type SinkStage, sink } from './stream/stage.js'
import { defineStage, fileOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const LF = 10

const writeLinesOptions = z.strictObject({
  path: z.string().min(1).describe('file to write'),
  if_exists: ifExistsOption,
})
export type WriteLinesOptions = z.input<typeof writeLinesOptions>

export const writeLinesStage = defineStage({
  name: 'write-lines',
  summary: 'writes lines to a file unchanged',
  accepts: 'lines',
  options: writeLinesOptions,
  resumable: true,
  create: writeLines,
  writes: fileOf,
})

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE */
export function writeLines(options: WriteLinesOptions): SinkStage<LineBatch> {
  const { path, if_exists } = parseOptions(writeLinesOptions, options, 'write-lines')
  return sink(writeLinesStage, (input, context) => {
    const write = async (file: OutputFile): Promise<void> => {
      for await (const batch of input) {
        await file.write(linesWithEnds(batch))
        await file.mark(batch.mark)
      }
    }
    return writeWhole(path, if_exists, write, context.journal?.reservations)
  })
}

function linesWithEnds({ bytes, starts, ends }: LineBatch): Uint8Array {
  let total = 0
  for (let line = 0; line < starts.length; line++) total += ends[line]! - starts[line]! + 1
  const joined = new Uint8Array(total)
  let at = 0
  for (let line = 0; line < starts.length; line++) {
    const content = bytes.subarray(starts[line], ends[line])
    joined.set(content, at)
    at += content.byteLength
    joined[at++] = LF
  }
  return joined
}
