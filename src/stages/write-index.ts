/**
 * Lines -> the raw index of their file, `.idx`: byte offset and length of each, byte for byte what the reference system
 * writes. Memory does not grow with the number of lines. Whole or absent.
 */
import * as z from 'zod'
import type { LineBatch } from '../formats/batches.js'
import { IndexWriter } from '../formats/idx.js'
import type { PicklerState } from '../formats/pickle.js'
import { ifExistsOption, type OutputFile, writeWhole } from './output-file.js'
import { type SinkStage, sink } from './stage.js'

export const writeIndexOptions = z.strictObject({
  path: z.string().min(1).describe('the .idx file to write'),
  if_exists: ifExistsOption,
})
export type WriteIndexOptions = z.input<typeof writeIndexOptions>

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE */
export function writeIndex(options: WriteIndexOptions): SinkStage<LineBatch> {
  const { path, if_exists } = writeIndexOptions.parse(options)
  return sink('write-index', (input, context) => {
    const write = async (file: OutputFile): Promise<void> => {
      const writer = new IndexWriter(file.resumedState as PicklerState | undefined)
      for await (const { byteOffset, starts, ends, mark } of input) {
        for (let line = 0; line < starts.length; line++) {
          writer.push(byteOffset + starts[line]!, ends[line]! - starts[line]!)
        }
        for (const piece of writer.take()) await file.write(piece)
        await file.mark(mark, () => writer.state())
      }
      for (const piece of writer.finish()) await file.write(piece)
    }
    return writeWhole(path, if_exists, write, context.journal?.claims)
  })
}
