/**
 * A plan on disk: the work of a pipeline divided into shards. Its folder is shared by all machines:
 *
 * | file | content |
 * | --- | --- |
 * | `plan.json` | the pipeline, its outputs, the number of shards |
 * | `000/tasks.jsonl` | the inputs of shards 0 to 999, one line each; `001/` has the next 1,000 |
 * | `000/00012.pbin` | an output of shard 12, with its manifest, lock and journal |
 * | `000/00012.done.json` | shard 12 is complete: inputs, counts, sizes and checksums of outputs (shard-record.ts) |
 * | `000/00012.error.json` | the last run of shard 12 failed |
 * | `000/00012.running.json` | heartbeat of the run in progress |
 * | `000/status.json` | totals of complete shards, from the last status (status-summary.ts) |
 *
 * A run reads `plan.json` and one file of at most 1,000 tasks, so the traffic does not grow with the number of shards.
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { changing } from '../files/durable.js'
import { isRemote } from '../files/remote/remote-name.js'
import { replaceFileSync } from '../files/replace-file.js'

const SHARDS_PER_FOLDER = 1000

const planSchema = z.object({
  version: z.literal(1),
  name: z.string(),
  /** The stages of the pipeline as in a definition, with absolute paths. */
  stages: z.array(z.unknown()),
  /** Empty for work that only reads, such as verify. */
  outputs: z.array(z.object({ stage: z.enum(['write-pbin', 'write-index', 'train-tokenizer']), path: z.string() })),
  shards: z.int().positive(),
  /** Shards of the first of two passes, whose outputs the others read. */
  firstPass: z.int().positive().optional(),
  /** Of all sources, as stored; of both passes. */
  bytes: z.number(),
})
export type ShardPlan = z.output<typeof planSchema>
export type ShardOutput = ShardPlan['outputs'][number]

const taskSchema = z.object({
  shard: z.int().nonnegative(),
  /** Absolute paths, and the size of each file when the plan was made. */
  sources: z.array(z.object({ path: z.string(), bytes: z.number() })),
  /**
   * Start in the first file and end in the last one: bytes of lines, rows of Parquet, documents of packed files. In the second
   * pass of a shuffle, which has no sources: positions of the shuffle.
   */
  from: z.number().optional(),
  to: z.number().optional(),
  /** In the first pass of a shuffle: the documents of the shard, and the number of all. */
  documents: z.object({ first: z.number(), count: z.number(), total: z.number() }).optional(),
  /** Share of the shard in the bytes of the sources. */
  bytes: z.number(),
})
export type ShardTask = z.output<typeof taskSchema>

/** Hash of everything that determines the outputs of a shard. */
export function taskHash({ stages }: Pick<ShardPlan, 'stages'>, task: ShardTask): string {
  return createHash('sha256')
    .update(JSON.stringify([stages, task]))
    .digest('hex')
}

/** Shards [first, end) that can run at the same time. A pass starts when the one before is complete. */
export interface Pass {
  readonly first: number
  readonly end: number
}

export function passesOf({ shards, firstPass }: Pick<ShardPlan, 'shards' | 'firstPass'>): readonly Pass[] {
  if (firstPass === undefined) return [{ first: 0, end: shards }]
  return [
    { first: 0, end: firstPass },
    { first: firstPass, end: shards },
  ]
}

/** Shards of the largest pass: more tasks at the same time have nothing to do. */
export const shardsAtOnce = (plan: Pick<ShardPlan, 'shards' | 'firstPass'>): number =>
  Math.max(...passesOf(plan).map(({ first, end }) => end - first))

/** Arguments of `penstock shards run` for each pass. */
export const passArguments = (plan: ShardPlan): readonly (readonly string[])[] =>
  passesOf(plan).map((_, pass, { length }) => (length === 1 ? [] : ['--pass', `${pass + 1}`]))

export const planPathOf = (folder: string): string => join(folder, 'plan.json')

export function shardFolder(folder: string, shard: number): string {
  return join(folder, String(Math.floor(shard / SHARDS_PER_FOLDER)).padStart(3, '0'))
}

export const shardName = (shard: number): string => String(shard).padStart(5, '0')

/** `FOLDER/000/00012.pbin` */
export function shardPath(folder: string, shard: number, ending: string): string {
  return join(shardFolder(folder, shard), `${shardName(shard)}.${ending}`)
}

const ENDINGS: Readonly<Record<ShardOutput['stage'], string>> = {
  'write-pbin': 'pbin',
  'write-index': 'idx',
  'train-tokenizer': 'words',
}
export const outputEnding = ({ stage }: ShardOutput): string => ENDINGS[stage]

/**
 * Writes a plan. The plan itself is written last: a folder with it is complete.
 * @throws FILE_EXISTS for a folder with a different plan, FILE_UNWRITABLE; ARGUMENT_INVALID for an object store
 */
export async function writePlan(folder: string, plan: ShardPlan, tasks: readonly ShardTask[]): Promise<void> {
  requireFolder(folder)
  const path = planPathOf(folder)
  const content = `${JSON.stringify(plan, null, 2)}\n`
  const existing = await readFile(path, 'utf8').catch(() => undefined)
  const isSame = existing === content && (await hasTasks(folder, tasks))
  if (isSame) return
  if (existing !== undefined) {
    const message = 'the folder has the plan of other work: choose another folder, or remove this one'
    throw new PenstockError('FILE_EXISTS', message, { file: path })
  }
  for (let first = 0; first < tasks.length; first += SHARDS_PER_FOLDER) {
    const group = tasks.slice(first, first + SHARDS_PER_FOLDER)
    const inner = shardFolder(folder, first)
    await changing(inner, async () => {
      await mkdir(inner, { recursive: true })
      replaceFileSync(tasksPathOf(folder, first), linesOf(group))
    })
  }
  await changing(path, async () => replaceFileSync(path, content))
}

async function hasTasks(folder: string, tasks: readonly ShardTask[]): Promise<boolean> {
  for (let first = 0; first < tasks.length; first += SHARDS_PER_FOLDER) {
    const found = await readFile(tasksPathOf(folder, first), 'utf8').catch(() => undefined)
    if (found !== linesOf(tasks.slice(first, first + SHARDS_PER_FOLDER))) return false
  }
  return true
}

const tasksPathOf = (folder: string, shard: number): string => join(shardFolder(folder, shard), 'tasks.jsonl')
const linesOf = (tasks: readonly ShardTask[]): string => tasks.map(task => `${JSON.stringify(task)}\n`).join('')

/** Locks, journals and heartbeats need a file system. @throws ARGUMENT_INVALID */
function requireFolder(folder: string): void {
  if (!isRemote(folder)) return
  const message = `the folder of a plan cannot be in an object store (${folder}): choose one on a file system that all machines share; sources can be in a store`
  throw new PenstockError('ARGUMENT_INVALID', message)
}

/** @throws FILE_MISSING for a folder without a plan, CONFIG_INVALID; ARGUMENT_INVALID for an object store */
export async function readPlan(folder: string): Promise<ShardPlan> {
  requireFolder(folder)
  const file = planPathOf(folder)
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new PenstockError(
      'FILE_MISSING',
      'no plan in this folder: make one with penstock shards plan',
      { file },
      error,
    )
  })
  return parsed(planSchema, text, file)
}

/** @throws FILE_MISSING, CONFIG_INVALID, ARGUMENT_INVALID for a shard that the plan does not have */
export async function readTask(folder: string, plan: ShardPlan, shard: number): Promise<ShardTask> {
  if (shard >= plan.shards) {
    const message = `the plan has shards 0 to ${plan.shards - 1}, found ${shard}`
    throw new PenstockError('ARGUMENT_INVALID', message, { file: planPathOf(folder) })
  }
  return (await readGroup(folder, shard))[shard % SHARDS_PER_FOLDER]!
}

/** All tasks, in the order of shards, 1,000 in memory at a time. @throws FILE_MISSING, CONFIG_INVALID */
export async function* readTasks(folder: string, plan: ShardPlan): AsyncGenerator<ShardTask> {
  for await (const group of readGroups(folder, plan)) yield* group.tasks()
}

/** The tasks in one folder. */
export interface TaskGroup {
  readonly first: number
  readonly count: number
  readonly text: string
  /** @throws CONFIG_INVALID */
  tasks(): ShardTask[]
}

/** @throws FILE_MISSING */
export async function* readGroups(folder: string, { shards }: ShardPlan): AsyncGenerator<TaskGroup> {
  for (let first = 0; first < shards; first += SHARDS_PER_FOLDER) {
    const text = await readGroupText(folder, first)
    const count = Math.min(SHARDS_PER_FOLDER, shards - first)
    yield { first, count, text, tasks: () => tasksIn(text, tasksPathOf(folder, first)) }
  }
}

async function readGroup(folder: string, shard: number): Promise<ShardTask[]> {
  return tasksIn(await readGroupText(folder, shard), tasksPathOf(folder, shard))
}

async function readGroupText(folder: string, shard: number): Promise<string> {
  const file = tasksPathOf(folder, shard)
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new PenstockError('FILE_MISSING', 'the tasks of the plan are missing: plan the work again', { file }, error)
  })
}

const tasksIn = (text: string, file: string): ShardTask[] =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => parsed(taskSchema, line, file))

function parsed<Schema extends z.ZodType>(schema: Schema, text: string, file: string): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text))
  } catch (error) {
    throw new PenstockError('CONFIG_INVALID', 'the file is not part of a plan, or is damaged', { file }, error)
  }
}
