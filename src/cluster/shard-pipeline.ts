/** The pipelines of a plan: that of one shard, and those that merge the outputs of all shards. */
import { type CheckedPipeline, checkDefinition } from '../pipelines/check.js'
import { definitionOf } from '../pipelines/definition.js'
import { outputEnding, type ShardOutput, type ShardPlan, type ShardTask, shardPath } from './plan-file.js'

type Options = Readonly<Record<string, unknown>>
type Step = Readonly<Record<string, Options | readonly Step[][]>>

/** @throws CONFIG_INVALID, STAGE_UNKNOWN for a plan of another version */
export function shardPipeline(folder: string, plan: ShardPlan, task: ShardTask): CheckedPipeline {
  const replaced = (step: Step): Step => {
    const [name, value] = Object.entries(step)[0]!
    if (name === 'fork') return { fork: (value as Step[][]).map(branch => branch.map(replaced)) }
    return { [name]: shardOptions(name, value as Options, { folder, plan, task }) }
  }
  const stages = (plan.stages as Step[]).map(replaced)
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

const documentBounds = (from = 0, to: number | undefined): Options => ({
  from,
  ...(to === undefined ? {} : { limit: to - from }),
})

/** The pipeline that writes one output from those of the shards. */
export function mergePipeline(
  plan: ShardPlan,
  output: ShardOutput,
  parts: readonly string[],
  sources: readonly string[],
): CheckedPipeline {
  const { stage, path } = output
  const source =
    stage === 'write-pbin'
      ? { 'concat-pbin': { paths: parts, sources } }
      : { 'concat-index': { paths: parts, source: sources[0] } }
  const stages = [source, { [stage]: { path, if_exists: ifExistsOf(plan.stages as Step[], output) } }]
  return checkDefinition(definitionOf({ name: 'merge', stages }, 'penstock shards merge'))[0]!
}

/** The policy that the definition sets for an output that exists. */
function ifExistsOf(steps: readonly Step[], { stage, path }: ShardOutput): unknown {
  for (const [name, value] of steps.flatMap(step => Object.entries(step))) {
    const found = name === 'fork' ? (value as Step[][]).map(branch => ifExistsOf(branch, { stage, path })) : []
    const inFork = found.find(policy => policy !== undefined)
    if (inFork !== undefined) return inFork
    const options = value as Options
    if (name === stage && options.path === path) return options.if_exists ?? 'error'
  }
  return undefined
}
