/** Divides a pipeline into shards, for `shards plan`, for `--shards` of other commands, and for `launch`. */

import { type ShardPlan, writePlan } from '../../../cluster/plan-file.js'
import { defaultShardFolder, type PlannedWork, planShards } from '../../../cluster/plan-shards.js'
import { PenstockError } from '../../../errors.js'
import { checkDefinition } from '../../../pipelines/check.js'
import { type Definition, definitionOf } from '../../../pipelines/definition.js'
import { notify } from '../../output/notices.js'
import { bytes, count } from '../../output/terminal.js'

export interface PlanFlags {
  readonly shards: number
  /** Folder of the plan; by default, next to the first output. */
  readonly shardFolder?: string
  readonly quiet?: boolean
}

export interface WrittenPlan {
  readonly folder: string
  readonly plan: ShardPlan
}

/** Plans the pipelines of a command. @throws as `planDefinition` */
export async function planPipelines(
  name: string,
  pipelines: Readonly<Record<string, object[]>>,
  flags: PlanFlags,
): Promise<WrittenPlan> {
  return planDefinition(definitionOf({ name, pipelines }, `penstock ${name}`), flags)
}

/**
 * Writes the plan of a definition and prints how to run it.
 * @throws ARGUMENT_INVALID for a definition that cannot be divided, FILE_EXISTS, FILE_UNWRITABLE; and errors of the sources
 */
export async function planDefinition(definition: Definition, flags: PlanFlags): Promise<WrittenPlan> {
  const [pipeline, ...others] = checkDefinition(definition)
  if (pipeline === undefined || others.length > 0) {
    throw new PenstockError('ARGUMENT_INVALID', 'expected a definition with a single pipeline', {
      file: definition.source.file,
    })
  }
  const planned = await planShards(pipeline, flags.shards)
  return publishPlan(flags.shardFolder ?? defaultShardFolder(planned.plan), planned, flags.quiet)
}

/** Writes a plan and prints how to run it. @throws FILE_EXISTS, FILE_UNWRITABLE */
export async function publishPlan(folder: string, { plan, tasks }: PlannedWork, quiet = false): Promise<WrittenPlan> {
  await writePlan(folder, plan, tasks)
  if (!quiet) announce(folder, plan)
  return { folder, plan }
}

function announce(folder: string, plan: ShardPlan): void {
  const { shards } = plan
  const size = `${count(shards)} ${shards === 1 ? 'shard' : 'shards'} of about ${bytes(plan.bytes / shards)}`
  const next = [
    `  run:    penstock shards run ${folder} --shard I/${shards}   (on any machine, I from 0)`,
    `  watch:  penstock shards status ${folder}`,
    `  finish: penstock shards merge ${folder}`,
  ]
  notify([`planned ${size} in ${folder}`, ...next].join('\n'), { event: 'planned', folder, shards, bytes: plan.bytes })
}
