/**
 * Shuffle of packed files in two passes. A shard of the first pass puts a part of the documents into the order that the
 * shuffle of all documents gives them; one of the second pass takes the documents at its positions from all parts, in each of
 * which they are adjacent. The outputs of the second pass, concatenated, are the shuffled file.
 */
import { PenstockError } from '../errors.js'
import { documentsIn, type Part, type SizedFile } from './divide-sources.js'
import { outputEnding, readTasks, type ShardOutput, type ShardPlan, type ShardTask, shardPath } from './plan-file.js'
import { doneRecordOf } from './shard-record.js'

/** Shards that a message names. */
const MAX_NAMED = 10

/** The tasks of both passes. @throws UNSUPPORTED for a packed file without a manifest; DATA_TOO_SMALL */
export async function shuffleTasks(files: readonly SizedFile[], parts: readonly Part[]): Promise<ShardTask[]> {
  const documents: number[] = []
  for (const { path } of files) documents.push(await documentsIn(path))
  const total = documents.reduce((sum, count) => sum + count, 0)
  if (total === 0) throw new PenstockError('DATA_TOO_SMALL', 'the files have no documents')
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  let first = 0
  const firstPass = parts.map((part, shard): ShardTask => {
    const count = documentsOfPart(part, documents)
    const task: ShardTask = {
      shard,
      sources: files.slice(part.first, part.last + 1),
      ...(part.from !== undefined && { from: part.from }),
      ...(part.to !== undefined && { to: part.to }),
      documents: { first, count, total },
      bytes: Math.round(part.bytes),
    }
    first += count
    return task
  })
  const positions = parts.map((_, index) => Math.floor((total * index) / parts.length))
  const secondPass = positions.flatMap((from, index) => {
    const to = positions[index + 1] ?? total
    return from === to ? [] : [{ from, to, bytes: Math.round((bytes * (to - from)) / total) }]
  })
  return [...firstPass, ...secondPass.map((task, index) => ({ shard: firstPass.length + index, sources: [], ...task }))]
}

function documentsOfPart({ first, last, from = 0, to }: Part, documents: readonly number[]): number {
  const whole = documents.slice(first, last + 1).reduce((sum, count) => sum + count, 0)
  return whole - from - (to === undefined ? 0 : documents[last]! - to)
}

/** The first stage of a shard, which replaces `shuffle-documents`. @throws FILE_MISSING before the first pass is complete */
export async function shuffleStage(
  folder: string,
  plan: ShardPlan,
  { sources, from = 0, to, documents }: ShardTask,
  seed: unknown,
): Promise<Readonly<Record<string, Readonly<Record<string, unknown>>>>> {
  if (documents !== undefined) {
    const { first, total } = documents
    const bounds = { from, ...(to !== undefined && { to }) }
    return { 'shuffle-part': { paths: sources.map(({ path }) => path), ...bounds, first, total, seed } }
  }
  const parts = await firstPassOf(folder, plan)
  return {
    'join-parts': {
      paths: parts.map(({ path }) => path),
      documents: parts.map(({ documents }) => documents),
      from,
      to,
      seed,
    },
  }
}

interface CompletePart {
  readonly path: string
  readonly documents: number
}

/** @throws FILE_MISSING when it is not complete, which a retry can resolve */
async function firstPassOf(folder: string, plan: ShardPlan): Promise<CompletePart[]> {
  const [output] = plan.outputs as [ShardOutput]
  const parts: CompletePart[] = []
  const missing: number[] = []
  for await (const task of readTasks(folder, plan)) {
    if (task.documents === undefined) break
    if ((await doneRecordOf(folder, plan, task)) === undefined) missing.push(task.shard)
    const { count } = task.documents
    if (count > 0) parts.push({ path: shardPath(folder, task.shard, outputEnding(output)), documents: count })
  }
  if (missing.length === 0) return parts
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : ''
  const message = `the second pass needs all of the first one; its shards ${missing.slice(0, MAX_NAMED).join(', ')}${more} are not complete: run this again afterwards`
  throw new PenstockError('FILE_MISSING', message)
}
