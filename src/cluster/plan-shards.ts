/** Definition -> plan: checks that the pipeline can be divided, makes its paths absolute and divides its sources. */
import { resolve } from 'node:path'
import { PenstockError } from '../errors.js'
import { isRemote } from '../files/remote/remote-name.js'
import { absoluteSource, locateSources, sourceSize } from '../files/source-list.js'
import { allSteps, type CheckedChain, type CheckedPipeline, type CheckedStep } from '../pipelines/check.js'
import { divideSources, type Part, type SizedFile, type SourceKind } from './divide-sources.js'
import type { ShardOutput, ShardPlan, ShardTask } from './plan-file.js'
import { shuffleTasks } from './shuffle-shards.js'

/** Sources that can be divided, and how. */
const SOURCES: Readonly<Record<string, SourceKind>> = {
  'read-file': 'lines',
  'read-corpus': 'corpus',
  'read-parquet': 'corpus',
  'read-pbin': 'packed',
  'shuffle-documents': 'packed',
}
const SHUFFLE = 'shuffle-documents'
/** Stages whose output for a part of the input does not depend on the other parts. */
const TRANSFORMS = ['read-lines', 'validate-json', 'extract-text', 'tokenize-batches', 'filter-documents']
const SINKS: readonly string[] = ['write-pbin', 'write-index', 'train-tokenizer'] satisfies ShardOutput['stage'][]
/** Options that make the output depend on all of the input before it. */
const ORDERED_OPTIONS = ['limit', 'from', 'to', 'max_faulty']

export interface PlannedWork {
  readonly plan: ShardPlan
  readonly tasks: readonly ShardTask[]
}

/**
 * @param shards how many; there are fewer where the sources cannot be divided into so many
 * @throws ARGUMENT_INVALID for a pipeline that cannot be divided; FILE_MISSING, FILE_UNREADABLE, PARQUET_INVALID
 */
export async function planShards({ name, chain }: CheckedPipeline, shards: number): Promise<PlannedWork> {
  const steps = allSteps(chain)
  const source = checkDivisible(chain, steps)
  const paths = source.entry.reads?.(source.options) ?? []
  await locateSources(paths)
  const files = (source.entry.reads?.(source.options) ?? []).map(sized)
  if (files.length === 0) throw new PenstockError('ARGUMENT_INVALID', 'standard input cannot be divided into shards')
  if (source.name === SHUFFLE && new Set(paths).size < paths.length) throw indivisible('a file is given twice')
  const parts = await divideSources(files, shards, SOURCES[source.name]!)
  const isShuffle = source.name === SHUFFLE
  const tasks = isShuffle ? await shuffleTasks(files, parts) : parts.map((part, shard) => taskOf(shard, part, files))
  // The packed file first: the folder of the shards has its name.
  const outputs = SINKS.flatMap(sink => steps.filter(({ name }) => name === sink))
  const plan: ShardPlan = {
    version: 1,
    name,
    stages: stagesOf(chain),
    outputs: outputs.map(({ name, options }) => ({
      stage: name as ShardOutput['stage'],
      path: resolve(String(options.path)),
    })),
    shards: tasks.length,
    ...(isShuffle && { firstPass: parts.length }),
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) * (isShuffle ? 2 : 1),
  }
  return { plan, tasks }
}

function taskOf(shard: number, { first, last, from, to, bytes }: Part, files: readonly SizedFile[]): ShardTask {
  const sources = files.slice(first, last + 1)
  return {
    shard,
    sources,
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    bytes: Math.round(bytes),
  }
}

/** @returns the source of the pipeline. @throws ARGUMENT_INVALID */
function checkDivisible(chain: CheckedChain, steps: readonly CheckedStep[]): CheckedStep {
  const [source, ...others] = steps
  if (chain.merge.length > 0 || source === undefined || !Object.hasOwn(SOURCES, source.name)) {
    const first = chain.merge.length > 0 ? 'merge' : source?.name
    throw indivisible(`it begins with ${first}; expected one of ${Object.keys(SOURCES).join(', ')}`)
  }
  if (source.name === SHUFFLE) checkShuffle(source, others)
  for (const { name, options } of steps) {
    if (name !== source.name && !TRANSFORMS.includes(name) && !SINKS.includes(name)) {
      throw indivisible(`the result of ${name} depends on the whole input`)
    }
    const ordered = ORDERED_OPTIONS.find(option => options[option] !== undefined && options[option] !== 0)
    if (ordered !== undefined) throw indivisible(`${name} has the option ${ordered}, which applies to the whole input`)
  }
  const remote = others.find(({ name, options }) => SINKS.includes(name) && isRemote(String(options.path)))
  if (remote !== undefined) {
    throw indivisible(`${remote.options.path} is in an object store; write to a shared folder and copy the result`)
  }
  return source
}

/** @throws ARGUMENT_INVALID */
function checkShuffle({ options: { seed, chunk } }: CheckedStep, others: readonly CheckedStep[]): void {
  if (seed === undefined) throw indivisible(`${SHUFFLE} has no seed, which all shards need`)
  if (chunk !== undefined) throw indivisible(`${SHUFFLE} has the option chunk; shuffle whole files`)
  if (others.some(({ name }) => name !== 'write-pbin')) throw indivisible(`only write-pbin can follow ${SHUFFLE}`)
}

function indivisible(reason: string): PenstockError {
  return new PenstockError('ARGUMENT_INVALID', `the pipeline cannot be divided into shards: ${reason}`)
}

function sized(path: string): SizedFile {
  const bytes = sourceSize(path)
  if (bytes !== undefined) return { path: absoluteSource(path), bytes }
  throw new PenstockError('FILE_MISSING', 'expected a file, which can be divided into shards', { file: path })
}

/** The stages as in a definition. Paths are absolute, because every machine has its own working directory. */
function stagesOf({ steps, fork }: CheckedChain): unknown[] {
  const stages: unknown[] = steps.map(step => ({ [step.name]: optionsOf(step) }))
  return fork.length === 0 ? stages : [...stages, { fork: fork.map(stagesOf) }]
}

/** Options that name one file or folder of this machine. */
const PATH_OPTIONS = ['path', 'tokenizer', 'quarantine']

function optionsOf({ name, step }: CheckedStep): Record<string, unknown> {
  const options: Record<string, unknown> = { ...step.options }
  for (const option of PATH_OPTIONS) {
    if (typeof options[option] === 'string') options[option] = absoluteSource(options[option])
  }
  // The tasks list the files.
  if (name === 'read-corpus') options.sources = []
  if (name === SHUFFLE) options.paths = []
  return options
}

/** Default folder of the shards of a pipeline: next to its first output. */
export const defaultShardFolder = ({ outputs }: ShardPlan): string => `${outputs[0]!.path}.shards`
