/**
 * Lines -> the raw index of their file, `.idx`: byte offset and length of each, byte for byte what the reference system
 * writes. Memory does not grow with the number of lines. Whole or absent.
 */
import * as z from 'zod'
import type { LineBatch } from '../formats/batches.js'
import { IndexWriter } from '../formats/idx.js'
import { ifExistsOption, writeWhole } from './output-file.js'
import { type SinkStage, sink } from './stage.js'

export const writeIndexOptions = z.strictObject({
  path: z.string().min(1).describe('the .idx file to write'),
  if_exists: ifExistsOption,
})
export type WriteIndexOptions = z.input<typeof writeIndexOptions>

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE */
export function writeIndex(options: WriteIndexOptions): SinkStage<LineBatch> {
  const { path, if_exists } = writeIndexOptions.parse(options)
  return sink('write-index', input =>
    writeWhole(path, if_exists, async file => {
      const writer = new IndexWriter()
      for await (const { byteOffset, starts, ends } of input) {
        for (let line = 0; line < starts.length; line++) {
          writer.push(byteOffset + starts[line]!, ends[line]! - starts[line]!)
        }
        for (const piece of writer.take()) await file.write(piece)
      }
      for (const piece of writer.finish()) await file.write(piece)
    }),
  )
}
