/**
 * Bytes of one JSON document that holds many records -> lines, one a record: the elements of an array, at the top or
 * under a key, or values that stand one behind the other. Records are written anew, so byte offsets are those of the
 * lines that come out. About 15 MB/s: for what does not come as JSONL.
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
    .describe('the elements of an array, or values one behind the other'),
  pick: z.string().min(1).optional().describe('path of the array inside the document, such as data.items'),
  source: z.string().default('-').describe('name of the input in messages; the runner fills in the file'),
})
export type SplitJsonOptions = z.input<typeof splitJsonOptions>

export const splitJsonStage = defineStage({
  name: 'split-json',
  summary: 'cuts a JSON array, or values one behind the other, into lines',
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
    for await (const { value } of valuesIn(input, checked)) {
      text += `${JSON.stringify(value)}\n`
      if (text.length < BATCH_CHARACTERS) continue
      yield* splitter.push(Buffer.from(text))
      text = ''
    }
    yield* splitter.push(Buffer.from(text))
  })
}

async function* valuesIn(
  input: AsyncIterable<Uint8Array>,
  { shape, pick: path, source }: z.output<typeof splitJsonOptions>,
): AsyncGenerator<{ readonly value: unknown }> {
  // Loaded only here: most runs go without.
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
  // The loop below meets the error too, as the last stream's own.
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
