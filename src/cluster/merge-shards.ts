/**
 * Outputs of all shards -> the outputs of the pipeline, byte-identical to those of a run on one machine, with the same
 * manifests. Checks before that every shard is complete, unchanged since, of this plan, and from the same version of its
 * sources. Memory is that of one part, plus the list of sources.
 */
import { PenstockError } from '../errors.js'
import type { SourceRecord } from '../files/sources/source-record.js'
import { type PipelineResult, type RunOptions, runPipeline } from '../pipelines/run.js'
import { isMerged, partsHash, recordMerge } from './merge-record.js'
import { readPart } from './part-checksum.js'
import { outputEnding, readTasks, type ShardOutput, type ShardPlan, type ShardTask, shardPath } from './plan-file.js'
import { type MergedSources, mergePipeline } from './shard-pipeline.js'
import { doneRecordOf, type OutputRecord, readRecord } from './shard-record.js'

/** Shards that a message names. */
const MAX_NAMED = 10

export interface MergeResult {
  /** Empty when the outputs are those of an earlier merge. */
  readonly results: readonly PipelineResult[]
  readonly rejected: number
  readonly filtered: number
  /** Files that were verified. */
  readonly files: number
}

/**
 * @param isReadBack whether to compare the bytes of each part with the checksum in its record before merging
 * @throws FILE_MISSING when shards are not complete; FILE_DAMAGED for a part that changed; FILE_CHANGED for sources that changed
 * between shards; and the errors of the pipeline that writes the outputs
 */
export async function mergeShards(
  folder: string,
  plan: ShardPlan,
  options: RunOptions = {},
  isReadBack = true,
): Promise<MergeResult> {
  const { parts, sources, reading, ...counts } = await completeParts(folder, plan)
  const merged = partsHash(parts.flatMap(({ outputs }) => outputs.map(({ checksum }) => checksum)))
  if (plan.outputs.length > 0 && (await isMerged(folder, plan, merged))) return { results: [], ...counts }
  const results: PipelineResult[] = []
  for (const [index, output] of plan.outputs.entries()) {
    const paths: string[] = []
    for (const { shard, outputs } of parts) {
      const path = shardPath(folder, shard, outputEnding(output))
      if (isReadBack) await checkPart(path, output, outputs[index]!, options.signal)
      paths.push(path)
    }
    if (paths.length === 0) throw new PenstockError('DATA_TOO_SMALL', 'no documents to pack', { file: output.path })
    results.push(await runPipeline(mergePipeline(plan, output, paths, { sources, reading }), options))
  }
  if (plan.outputs.length > 0) await recordMerge(folder, plan, merged)
  return { results, ...counts }
}

interface CompletePart {
  readonly shard: number
  readonly outputs: readonly OutputRecord[]
}

interface CompleteParts extends MergedSources {
  /** Without empty ones. */
  readonly parts: readonly CompletePart[]
  readonly rejected: number
  readonly filtered: number
  readonly files: number
}

/** @throws FILE_MISSING, FILE_CHANGED */
async function completeParts(folder: string, plan: ShardPlan): Promise<CompleteParts> {
  const parts: CompletePart[] = []
  const missing: string[] = []
  const sources = new Set<string>()
  const versions = new SourceVersions()
  let reading: MergedSources['reading']
  let [rejected, filtered, files] = [0, 0, 0]
  for await (const task of readTasks(folder, plan)) {
    for (const { path } of task.sources) sources.add(path)
    const record = await doneRecordOf(folder, plan, task)
    if (record === undefined) {
      missing.push(await describeMissing(folder, task.shard))
      continue
    }
    if (record.inputs !== undefined) versions.add(record.inputs)
    reading ??= record.inputs?.reading
    rejected += record.rejected
    filtered += record.filtered
    files += record.files ?? 0
    if (record.outputs.length > 0 && !isIntermediate(task)) parts.push({ shard: task.shard, outputs: record.outputs })
  }
  if (missing.length === 0) return { parts, sources: [...sources], reading, rejected, filtered, files }
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : ''
  const message = `${missing.length} of ${plan.shards} shards are not complete: ${missing.slice(0, MAX_NAMED).join(', ')}${more}; see penstock shards status ${folder}`
  throw new PenstockError('FILE_MISSING', message)
}

/** Outputs of a first pass are read by the second one only. */
const isIntermediate = ({ documents }: ShardTask): boolean => documents !== undefined

async function describeMissing(folder: string, shard: number): Promise<string> {
  const other = await readRecord(folder, shard, 'done')
  if (other !== undefined) return `${shard} (made by another plan)`
  const error = await readRecord(folder, shard, 'error')
  return error === undefined ? `${shard}` : `${shard} (${error.message})`
}

/** Shards that read parts of one file must have read the same version of it. */
class SourceVersions {
  private readonly known = new Map<string, string>()

  /** @throws FILE_CHANGED */
  add({ samples, paths, bytes, versions }: SourceRecord): void {
    for (const [index, file] of paths.entries()) {
      // The hash depends on the number of samples.
      const key = `${samples} ${file}`
      const version = `${bytes[index]} ${versions[index]}`
      if ((this.known.get(key) ?? version) !== version) {
        throw new PenstockError('FILE_CHANGED', 'the file changed between two shards: plan the work again', { file })
      }
      this.known.set(key, version)
    }
  }
}

/** @throws FILE_DAMAGED */
async function checkPart(
  path: string,
  output: ShardOutput,
  expected: OutputRecord,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { bytes, checksum } = await readPart(path, output, signal)
  if (bytes === expected.bytes && checksum === expected.checksum) return
  const message =
    'the part of a shard changed after it was written: remove it and its .done.json, and run the shard again'
  throw new PenstockError('FILE_DAMAGED', message, { file: path })
}
