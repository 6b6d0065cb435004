/** The pipelines of a plan: that of one shard, and those that merge the outputs of all shards. */

import type { SourceReading } from '../files/sources/source-record.js'
import { type CheckedPipeline, checkDefinition } from '../pipelines/check.js'
import { definitionOf } from '../pipelines/definition.js'
import { outputEnding, type ShardOutput, type ShardPlan, type ShardTask, shardPath } from './plan-file.js'
import { shuffleStage } from './shuffle-shards.js'

type Options = Readonly<Record<string, unknown>>
/** Options of `train-tokenizer` that `count-words` does not have. */
const TRAINING_OPTIONS = ['vocab_size', 'min_frequency', 'special_tokens', 'max_token_length']

type Step = Readonly<Record<string, Options | readonly Step[][]>>

/** @throws CONFIG_INVALID, STAGE_UNKNOWN for a plan of another version; FILE_MISSING for a second pass before the end of the first */
export async function shardPipeline(folder: string, plan: ShardPlan, task: ShardTask): Promise<CheckedPipeline> {
  const replaced = (step: Step): Step => {
    const [name, value] = Object.entries(step)[0]!
    if (name === 'fork') return { fork: (value as Step[][]).map(branch => branch.map(replaced)) }
    const options = shardOptions(name, value as Options, { folder, plan, task })
    return name === 'train-tokenizer' ? { 'count-words': withoutTraining(options) } : { [name]: options }
  }
  const [first, ...others] = plan.stages as Step[]
  const shuffle = first!['shuffle-documents'] as Options | undefined
  const source = shuffle === undefined ? replaced(first!) : await shuffleStage(folder, plan, task, shuffle.seed)
  const stages = [source, ...others.map(replaced)]
  return checkDefinition(definitionOf({ name: `shard ${task.shard}`, stages }, `shard ${task.shard}`))[0]!
}

interface Shard {
  readonly folder: string
  readonly plan: ShardPlan
  readonly task: ShardTask
}

function shardOptions(name: string, options: Options, { folder, plan, task }: Shard): Options {
  const { shard, from, to } = task
  const sources = task.sources.map(({ path }) => path)
  const bounds = { ...(from !== undefined && { from }), ...(to !== undefined && { to }) }
  const quarantine =
    options.quarantine === undefined ? {} : { quarantine: shardPath(folder, shard, 'quarantine.jsonl') }
  const output = plan.outputs.find(({ stage, path }) => stage === name && path === options.path)
  if (output !== undefined) {
    return { ...options, path: shardPath(folder, shard, outputEnding(output)), if_exists: 'override' }
  }
  if (name === 'read-corpus') return { ...options, ...quarantine, sources, order: 'given', ...bounds }
  if (name === 'read-file' || name === 'read-parquet') return { ...options, ...quarantine, path: sources[0], ...bounds }
  if (name === 'read-pbin') return { ...options, path: sources[0], ...documentBounds(from, to) }
  return { ...options, ...quarantine }
}

/** A shard only counts words; the merge trains. */
function withoutTraining(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !TRAINING_OPTIONS.includes(name)))
}

const documentBounds = (from = 0, to: number | undefined): Options => ({
  from,
  ...(to === undefined ? {} : { limit: to - from }),
})

/** To be recorded in the manifests of merged outputs. */
export interface MergedSources {
  /** Each file once, in the order in which they are read. */
  readonly sources: readonly string[]
  readonly reading?: SourceReading | undefined
}

/** The pipeline that writes one output from those of the shards. */
export function mergePipeline(
  plan: ShardPlan,
  output: ShardOutput,
  parts: readonly string[],
  sources: MergedSources,
): CheckedPipeline {
  const stages = mergeStages(output, optionsOf(plan.stages as Step[], output) ?? {}, parts, sources)
  return checkDefinition(definitionOf({ name: 'merge', stages }, 'penstock shards merge'))[0]!
}

/** @param options of the output in the definition */
function mergeStages(
  { stage, path }: ShardOutput,
  options: Options,
  parts: readonly string[],
  { sources, reading }: MergedSources,
): readonly object[] {
  const { if_exists = 'error' } = options
  if (stage === 'write-pbin')
    return [{ 'concat-pbin': { paths: parts, sources, reading } }, { [stage]: { path, if_exists } }]
  if (stage === 'write-index') {
    return [{ 'concat-index': { paths: parts, source: sources[0] } }, { [stage]: { path, if_exists } }]
  }
  const training = Object.entries(options).filter(([name]) => TRAINING_OPTIONS.includes(name))
  return [{ 'read-words': { paths: parts } }, { 'train-words': { path, if_exists, ...Object.fromEntries(training) } }]
}

/** The options of an output in the definition. */
function optionsOf(steps: readonly Step[], output: ShardOutput): Options | undefined {
  for (const [name, value] of steps.flatMap(step => Object.entries(step))) {
    const branches = name === 'fork' ? (value as Step[][]) : []
    const inFork = branches.map(branch => optionsOf(branch, output)).find(options => options !== undefined)
    if (inFork !== undefined) return inFork
    const options = value as Options
    if (name === output.stage && options.path === output.path) return options
  }
  return undefined
}
