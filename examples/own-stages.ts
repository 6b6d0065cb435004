/**
 * Custom stages, and a definition that uses one of them, run from code. Run it with:
 *   npx jiti examples/own-stages.ts definition.yaml
 */
import { readFileSync } from 'node:fs'
import {
  checkDefinition,
  readDefinition,
  runPipeline,
  type StageRegistry,
  type StageReport,
  stageRegistry,
} from 'penstock-ml'
import { type LineBatch, source, transform } from 'penstock-ml/stages'
import * as z from 'zod'

const ITEM_CHARACTERS = 1 << 20

/** Source: records of the app -> JSONL bytes, in items of about 1 MB. */
export const fromRecords = (records: AsyncIterable<object> | Iterable<object>) =>
  source<Uint8Array>('from-records', async function* () {
    let lines = ''
    for await (const record of records) {
      lines += `${JSON.stringify(record)}\n`
      if (lines.length < ITEM_CHARACTERS) continue
      yield Buffer.from(lines)
      lines = ''
    }
    if (lines !== '') yield Buffer.from(lines)
  })

const everyNthOptions = z.strictObject({
  n: z.int().positive().describe('keep every n-th line'),
})

/** Transform: keeps every n-th line. */
export function everyNth(options: z.input<typeof everyNthOptions>) {
  const { n } = everyNthOptions.parse(options)
  return transform<LineBatch, LineBatch>('every-nth', async function* (batches, context) {
    for await (const batch of batches) {
      const isKept = (_: number, entry: number): boolean => (batch.firstLine + batch.lines[entry]!) % n === 0
      const starts = batch.starts.filter(isKept)
      context.count('filtered', batch.starts.length - starts.length)
      yield { ...batch, starts, ends: batch.ends.filter(isKept), lines: batch.lines.filter(isKept) }
    }
  })
}

const registry: StageRegistry = {
  ...stageRegistry,
  'every-nth': {
    summary: 'keeps every n-th line',
    accepts: 'lines',
    emits: 'lines',
    options: everyNthOptions,
    create: everyNth,
  },
}

const recordsOf = ({ name, stats }: StageReport): string => `${name} ${stats.recordsOut}`

/** Runs a definition. Aborting the signal stops it without leaving an incomplete output under its final name. */
export async function runFile(file: string, signal: AbortSignal) {
  const definition = readDefinition(readFileSync(file, 'utf8'), file)
  const written: Record<string, number> = {}
  for (const pipeline of checkDefinition(definition, registry)) {
    const result = await runPipeline(pipeline, {
      signal,
      onProgress: ({ stages }) => console.error(stages.map(recordsOf).join(', ')),
    })
    for (const { name, stats } of result.stages) written[`${pipeline.name}/${name}`] = stats.recordsIn
  }
  return written
}

const [file] = process.argv.slice(2)
if (file !== undefined) console.log(await runFile(file, AbortSignal.timeout(60_000)))
