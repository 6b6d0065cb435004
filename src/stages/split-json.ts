/**
 * Bytes of JSON that is not JSONL -> one line per record. Records are the elements of an array, at the top level or
 * under a key, or concatenated values. Records are serialized again, so byte offsets refer to the output. About 15
 * MB/s.
 */
import { pipeline, Readable } from 'node:stream'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { LineBatch } from '../formats/batches.js'
import { LineSplitter } from '../formats/jsonl.js'
import { type TransformStage, transform } from './stream/stage.js'
import { defineStage } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const BATCH_CHARACTERS = 1 << 19

const splitJsonOptions = z.strictObject({
  shape: z
    .enum(['array', 'values'])
    .default('array')
    .describe('layout of the input: one array of records, or concatenated values'),
  pick: z.string().min(1).optional().describe('path of the array in the document, such as data.items'),
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

/** @throws JSON_INVALID */
export function splitJson(options: SplitJsonOptions = {}): TransformStage<Uint8Array, LineBatch> {
  const checked = parseOptions(splitJsonOptions, options, 'split-json')
  return transform('split-json', async function* (input) {
    const splitter = new LineSplitter({ source: checked.source, maxLineBytes: Number.MAX_SAFE_INTEGER })
    let text = ''
    for await (const { value } of parseValues(input, checked)) {
      text += `${JSON.stringify(value)}\n`
      if (text.length < BATCH_CHARACTERS) continue
      yield* splitter.push(Buffer.from(text))
      text = ''
    }
    yield* splitter.push(Buffer.from(text))
  })
}

async function* parseValues(
  input: AsyncIterable<Uint8Array>,
  { shape, pick: path, source }: z.output<typeof splitJsonOptions>,
): AsyncGenerator<{ readonly value: unknown }> {
  // Loaded only here, since few runs need it.
  const { parser } = await import('stream-json')
  const { pick } = await import('stream-json/filters/pick.js')
  const { streamArray } = await import('stream-json/streamers/stream-array.js')
  const { streamValues } = await import('stream-json/streamers/stream-values.js')
  const steps = [
    Readable.from(input),
    parser.asStream({ jsonStreaming: shape === 'values' }),
    ...(path === undefined ? [] : [pick.asStream({ filter: path })]),
    shape === 'array' ? streamArray.asStream() : streamValues.asStream(),
  ]
  // The loop below receives the same error from the last stream.
  const values = pipeline(steps as never, () => {}) as unknown as Readable
  try {
    yield* values
  } catch (error) {
    if (error instanceof PenstockError) throw error
    throw new PenstockError(
      'JSON_INVALID',
      `not ${shape === 'array' ? 'an array of' : ''} JSON values: ${(error as Error).message}`,
      { file: source },
      error,
    )
  }
}
