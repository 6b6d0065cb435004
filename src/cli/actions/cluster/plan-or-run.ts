/** Runs the pipelines of a command, or divides them into shards with `--shards`. */
import { rejectUnused } from '../../output/unused-flags.js'
import type { RunFlags } from '../run-definition.js'
import { withRangesStarted } from '../start-ranges.js'
import type { PlanFlags } from './plan-shards.js'

/** @throws ARGUMENT_INVALID for flags without effect, and the errors of the plan or of the run */
export async function planOrRun(
  name: string,
  pipelines: Readonly<Record<string, object[]>>,
  { shards, ...flags }: RunFlags & Partial<PlanFlags>,
): Promise<void> {
  if (shards !== undefined) {
    const { planPipelines } = await import('./plan-shards.js')
    await planPipelines(name, pipelines, { ...flags, shards })
    return
  }
  rejectUnused(flags, ['shardFolder'], 'without --shards')
  const [first] = Object.values(pipelines)
  if (first === undefined) return
  await withRangesStarted(first, async () => {
    const { definitionOf } = await import('../../../pipelines/definition.js')
    const { runDefinition } = await import('../run-definition.js')
    await runDefinition(definitionOf({ name, pipelines }, `penstock ${name}`), flags)
  })
}
