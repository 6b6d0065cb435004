/** Finds pipelines that `if_exists: skip` leaves without work. */
import { existsSync } from 'node:fs'
import { outputExists } from '../../files/output-file.js'
import { journalPathOf, outputTargetOf } from '../../files/side-files.js'
import { allSteps, type CheckedPipeline } from '../../pipelines/check.js'

/** The outputs of a pipeline if it must keep all of them; undefined if it has to run, also to finish an interrupted run. */
export async function keptOutputs({ chain }: CheckedPipeline): Promise<readonly string[] | undefined> {
  const kept: string[] = []
  for (const { entry, options } of allSteps(chain)) {
    if (entry.emits !== undefined) continue
    const outputs: string[] = []
    if (options.if_exists === 'skip') {
      for (const path of entry.writes?.(options) ?? []) if (await outputExists(path)) outputs.push(path)
    }
    if (outputs.length === 0) return undefined
    for (const output of outputs) if (existsSync(journalPathOf(await outputTargetOf(output)))) return undefined
    kept.push(...outputs)
  }
  return kept.length === 0 ? undefined : kept
}
