/** Plans a pipeline without training by extrapolating a probe to the whole input. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { isPackedName } from '../../files/source-file.js'
import { formatOf } from '../../files/source-format.js'
import { sourceSize } from '../../files/source-list.js'
import { PBIN_HEADER_BYTES, tokenBytesOf } from '../../formats/pbin.js'
import { allSteps, type CheckedPipeline, type CheckedStep } from '../../pipelines/check.js'
import type { StageReport } from '../../pipelines/run.js'
import { askTokenizer } from '../../workers/tokenizer/tokenizer-thread.js'
import { sampleSources } from '../actions/sample-sources.js'
import { quantity } from '../output/terminal.js'
import type { Estimate, PlanContext } from './model.js'
import { type DataProbe, lacksTokenizer, probePipeline, sinksIn } from './probe.js'

/** Measured average size of an index entry: two pickled integers. */
const INDEX_BYTES_PER_RECORD = 10
/** Text usually compresses to about a quarter. */
const COMPRESSION_RATIO = 4
const BYTES_PER_TOKEN = 3.5

export async function planData(pipeline: CheckedPipeline, context: PlanContext): Promise<Estimate> {
  const steps = allSteps(pipeline.chain)
  const probe = await probePipeline(pipeline)
  if (probe.fault !== undefined) {
    context.problem('error', `it fails within the first seconds: ${probe.fault.toLine()}`)
    return { exact: false }
  }
  const rejected = probe.stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
  if (probe.complete && rejected > 0) context.problem('warning', quantity(rejected, 'faulty record'))
  if (!probe.complete) await reportSampledFaults(steps, context)
  const documents = documentsOf(pipeline, probe)
  const tokens = tokensOf(probe, documents) ?? roughTokens(steps, probe, documents)
  for (const { name, options } of steps) {
    const path = String(options.path)
    if (name === 'write-index') context.sizes.set(path, documents * INDEX_BYTES_PER_RECORD)
    if (name === 'write-jsonl') context.sizes.set(path, inputBytes(pipeline))
    if (name !== 'write-pbin' || tokens === undefined) continue
    const width = await tokenWidth(steps.find(step => step.name === 'tokenize-batches')?.options.tokenizer)
    context.madeTokens.set(resolve(path), tokens)
    context.sizes.set(path, PBIN_HEADER_BYTES + tokens * width + documents * INDEX_BYTES_PER_RECORD)
  }
  const delivered = Math.min(...sinksIn(probe.stages).map(({ stats }) => stats.recordsIn))
  const seconds = probe.complete
    ? (probe.startupMs + probe.workMs) / 1000
    : (probe.startupMs + (probe.workMs * documents) / Math.max(1, delivered)) / 1000
  return {
    documents,
    ...(tokens === undefined ? {} : { tokens }),
    seconds,
    memoryBytes: probe.memoryBytes,
    exact: probe.complete && !steps.some(lacksTokenizer),
  }
}

/** Samples a corpus as `init` does, because the probe reads only its start. */
async function reportSampledFaults(steps: readonly CheckedStep[], { problem }: PlanContext): Promise<void> {
  const source = steps.find(({ name }) => name === 'read-file' || name === 'read-corpus')
  const reader = steps.find(({ options }) => typeof options.field === 'string')
  const paths = source?.entry.reads?.(source.options) ?? []
  if (reader === undefined || paths.length === 0 || !paths.every(path => formatOf(path) !== undefined)) return
  for (const { records, faulty, fault, fields } of await sampleSources(paths, undefined)) {
    // A filter that computes its text names no field.
    const withField = fields.get(String(reader.options.field))?.records
    const missing = withField === undefined ? 0 : records - faulty - withField
    if (faulty + missing === 0) continue
    const found = `of ${quantity(records, 'sampled record')}, ${faulty} are faulty and ${missing} lack the field`
    const first = fault === undefined ? '' : `; the first: ${fault}`
    problem(reader.options.faulty === 'fail' ? 'error' : 'warning', `${found}${first}`)
  }
}

/** Estimated records in the whole input, from the average size of those probed. */
function documentsOf(pipeline: CheckedPipeline, { stages, complete }: DataProbe): number {
  const first = stages.find(({ stats }) => stats.recordsOut > 0)
  if (first === undefined) return 0
  const { recordsOut, rejected, bytesIn, bytesOut, counts } = first.stats
  const seen = recordsOut + rejected
  if (complete) return seen
  // A source of many files knows which part of them it has read, as stored.
  const { readBytes, totalBytes } = counts
  if (readBytes !== undefined && totalBytes !== undefined) {
    return Math.round((seen * totalBytes) / Math.max(1, readBytes))
  }
  return Math.round((seen * inputBytes(pipeline)) / Math.max(1, bytesIn, bytesOut))
}

function tokensOf({ stages, complete }: DataProbe, documents: number): number | undefined {
  const tokenizing = stages.find((stage: StageReport) => stage.stats.counts.tokens !== undefined)
  if (tokenizing === undefined) return undefined
  const { counts, recordsOut } = tokenizing.stats
  return complete ? counts.tokens! : Math.round((counts.tokens! * documents) / Math.max(1, recordsOut))
}

/** Rough token count while the tokenizer does not exist yet, from the usual token length. */
function roughTokens(steps: readonly CheckedStep[], { stages }: DataProbe, documents: number): number | undefined {
  const blocked = steps.find(lacksTokenizer)
  const stats = stages.find(({ name }) => name === blocked?.name)?.stats
  if (stats === undefined) return undefined
  return Math.round((stats.bytesIn * documents) / Math.max(1, stats.recordsIn) / BYTES_PER_TOKEN)
}

/** Size of the input after decompression. */
function inputBytes(pipeline: CheckedPipeline): number {
  const sources = allSteps(pipeline.chain).filter(step => step.entry.accepts === undefined)
  const paths = sources.flatMap(({ entry, options }) => entry.reads?.(options) ?? [])
  return paths.reduce((sum, path) => sum + (sourceSize(path) ?? 0) * (isPackedName(path) ? COMPRESSION_RATIO : 1), 0)
}

async function tokenWidth(tokenizer: unknown): Promise<number> {
  if (typeof tokenizer !== 'string' || !existsSync(tokenizer)) return 2
  return askTokenizer(tokenizer, tokenBytesOf)
}
