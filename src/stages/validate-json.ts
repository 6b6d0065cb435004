/**
 * Passes on lines that are exactly one JSON value (RFC 8259) in valid UTF-8; every other line is a faulty record. The
 * check is one pass over the bytes and builds no objects.
 */
import * as z from 'zod'
import type { LineBatch } from '../formats/batches.js'
import { recordAt } from '../formats/extract.js'
import { scanLine } from '../formats/json-scan.js'
import { withoutLines } from '../formats/jsonl.js'
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

const validateJsonOptions = z.strictObject({ ...faultOptions }).refine(checkFaultOptions, faultOptionsMessage)
export type ValidateJsonOptions = z.input<typeof validateJsonOptions>

export const validateJsonStage = defineStage({
  name: 'validate-json',
  summary: 'rejects lines that are not exactly one JSON value in valid UTF-8',
  accepts: 'lines',
  emits: 'lines',
  options: validateJsonOptions,
  resumable: true,
  create: validateJson,
  writes: quarantineOf,
})

/** @throws JSON_INVALID, UTF8_INVALID, LINE_BLANK */
export function validateJson(options: ValidateJsonOptions = {}): TransformStage<LineBatch, LineBatch> {
  const checked = parseOptions(validateJsonOptions, options, 'validate-json')
  return transform(validateJsonStage, (input, context) =>
    withFaultHandler(new FaultHandler(checked, 'validate-json', context), async function* (faults) {
      for await (const batch of input) {
        const faulty = new Set<number>()
        for (let index = 0; index < batch.starts.length; index++) {
          const start = batch.starts[index]!
          const result = scanLine(batch.bytes, start, batch.ends[index]!)
          if (result.ok) continue
          faulty.add(index)
          await faults.handle({
            ...recordAt(batch, index),
            code: result.code,
            message: `${result.message} (column ${result.offset - start + 1})`,
            byteOffset: batch.byteOffset + result.offset,
          })
        }
        yield withoutLines(batch, faulty)
      }
    }),
  )
}
