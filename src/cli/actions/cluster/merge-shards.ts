/** `penstock shards merge`: writes the outputs of the pipeline from those of its shards. */
import { mergeShards } from '../../../cluster/merge-shards.js'
import { readPlan } from '../../../cluster/plan-file.js'
import { resumeLine } from '../../output/event-lines.js'
import { notify } from '../../output/notices.js'
import { ProgressPrinter, progressMode } from '../../output/progress.js'
import { stopSignal } from '../../output/signals.js'
import { count, quantity } from '../../output/terminal.js'

export interface MergeFlags {
  /** False to trust the parts without reading them twice. */
  readonly verify?: boolean
  readonly quiet?: boolean
  readonly json?: boolean
}

/** @throws the codes of `mergeShards` */
export async function mergeFolder(folder: string, flags: MergeFlags): Promise<void> {
  const plan = await readPlan(folder)
  const printer = new ProgressPrinter(progressMode(flags))
  const { results, rejected, filtered, files } = await mergeShards(
    folder,
    plan,
    {
      signal: stopSignal(),
      onProgress: progress => printer.show(progress),
      onResume: event => printer.print(flags.json ? JSON.stringify({ event: 'resume', ...event }) : resumeLine(event)),
    },
    flags.verify !== false,
  )
  for (const result of results) printer.finish(result)
  const outputs = plan.outputs.map(({ path }) => path)
  if (outputs.length === 0) {
    notify(`${quantity(files, 'file')} verified, none is damaged`, { event: 'verified', files })
    return
  }
  const text = `merged ${count(plan.shards)} shards into ${outputs.join(' and ')}; ${count(rejected)} rejected, ${count(filtered)} filtered`
  if (!flags.quiet) notify(text, { event: 'merged', outputs, shards: plan.shards, rejected, filtered })
}
