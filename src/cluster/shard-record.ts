/**
 * Records of a shard, in JSON: `done` once its outputs are complete, `error` after a run that failed, `running` while one is
 * in progress. The `done` record is written last and atomically, so a shard that has one is complete.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { changing } from '../files/durable.js'
import { processSchema } from '../files/process-identity.js'
import { replaceFileSync } from '../files/replace-file.js'
import { sourceRecordSchema } from '../files/sources/source-record.js'
import { type ShardPlan, type ShardTask, shardPath, taskHash } from './plan-file.js'

const outputSchema = z.object({
  bytes: z.number(),
  /** SHA-256 of the block checksums of the output, as in its manifest. */
  checksum: z.string(),
  documents: z.number().optional(),
  tokens: z.number().optional(),
  records: z.number().optional(),
  /** Distinct words. */
  words: z.number().optional(),
})
export type OutputRecord = z.output<typeof outputSchema>

const doneSchema = z.object({
  version: z.literal(1),
  shard: z.number(),
  /** `taskHash` of the plan. */
  task: z.string(),
  /** Undefined for work without sources that are files. */
  inputs: sourceRecordSchema.optional(),
  /** In the order of the plan's outputs; empty when the shard has no documents. */
  outputs: z.array(outputSchema),
  /** Files that were verified. */
  files: z.number().optional(),
  rejected: z.number(),
  filtered: z.number(),
  host: z.string(),
  elapsedMs: z.number(),
})
export type DoneRecord = z.output<typeof doneSchema>

const errorSchema = z.object({
  /** 65 for faulty input, 2 for a wrong configuration, 75 and others for failures that a retry can resolve. */
  exitCode: z.number(),
  code: z.string(),
  message: z.string(),
  host: z.string(),
  at: z.string(),
})
export type ErrorRecord = z.output<typeof errorSchema>

const runningSchema = z.object({
  process: processSchema,
  /** Share of the input that has been read, 0 to 1. */
  share: z.number(),
  /** Time of the heartbeat, in ms since 1970 by the clock of that machine. */
  at: z.number(),
})
export type RunningRecord = z.output<typeof runningSchema>

const SCHEMAS = { done: doneSchema, error: errorSchema, running: runningSchema }
interface Records {
  readonly done: DoneRecord
  readonly error: ErrorRecord
  readonly running: RunningRecord
}
export type RecordKind = keyof Records

export const recordPath = (folder: string, shard: number, kind: RecordKind): string =>
  shardPath(folder, shard, `${kind}.json`)

/** @returns undefined if there is none. @throws FILE_DAMAGED, FILE_UNREADABLE */
export async function readRecord<Kind extends RecordKind>(
  folder: string,
  shard: number,
  kind: Kind,
): Promise<Records[Kind] | undefined> {
  const file = recordPath(folder, shard, kind)
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new PenstockError('FILE_UNREADABLE', error.message, { file }, error)
  })
  if (text === undefined) return undefined
  try {
    return SCHEMAS[kind].parse(JSON.parse(text)) as Records[Kind]
  } catch (error) {
    throw new PenstockError(
      'FILE_DAMAGED',
      'not the record of a shard: remove it and run the shard again',
      { file },
      error,
    )
  }
}

/** The record of a complete shard; undefined if there is none, or one of another plan. @throws FILE_DAMAGED */
export async function doneRecordOf(folder: string, plan: ShardPlan, task: ShardTask): Promise<DoneRecord | undefined> {
  const record = await readRecord(folder, task.shard, 'done')
  return record?.task === taskHash(plan, task) ? record : undefined
}

/** Replaces a record atomically. @throws FILE_UNWRITABLE */
export async function writeRecord<Kind extends RecordKind>(
  folder: string,
  shard: number,
  kind: Kind,
  record: Records[Kind],
): Promise<void> {
  const path = recordPath(folder, shard, kind)
  await changing(path, async () => replaceFileSync(path, `${JSON.stringify(record)}\n`))
}

/** Checksum of an output from those of its blocks. */
export const checksumOf = (blocks: readonly number[]): string =>
  createHash('sha256').update(Uint32Array.from(blocks)).digest('hex')
