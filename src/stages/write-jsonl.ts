/** Documents -> a JSONL file with one `{"text": ...}` object per line, written atomically. */
import * as z from 'zod'
import { ifExistsOption, type OutputFile, writeWhole } from '../files/output-file.js'
import type { DocumentBatch } from '../formats/batches.js'
import { type SinkStage, sink } from './stream/stage.js'
import { defineStage, fileOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const writeJsonlOptions = z.strictObject({
  path: z.string().min(1).describe('JSONL file to write'),
  field: z.string().min(1).default('text').describe('key of the text in each object'),
  if_exists: ifExistsOption,
})
export type WriteJsonlOptions = z.input<typeof writeJsonlOptions>

export const writeJsonlStage = defineStage({
  name: 'write-jsonl',
  summary: 'writes texts to a JSONL file',
  accepts: 'documents',
  options: writeJsonlOptions,
  resumable: true,
  create: writeJsonl,
  writes: fileOf,
})

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE */
export function writeJsonl(options: WriteJsonlOptions): SinkStage<DocumentBatch> {
  const { path, field, if_exists } = parseOptions(writeJsonlOptions, options, 'write-jsonl')
  return sink(writeJsonlStage, (input, context) => {
    const write = async (file: OutputFile): Promise<void> => {
      const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
      for await (const { bytes, offsets, mark } of input) {
        const lines: string[] = []
        for (let index = 0; index + 1 < offsets.length; index++) {
          const text = decoder.decode(bytes.subarray(offsets[index]!, offsets[index + 1]!))
          lines.push(`${JSON.stringify({ [field]: text })}\n`)
        }
        await file.write(Buffer.from(lines.join('')))
        await file.mark(mark)
      }
    }
    return writeWhole(path, if_exists, write, context.journal?.reservations)
  })
}
