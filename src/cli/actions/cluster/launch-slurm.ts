/** `penstock launch slurm`: submits the shards of a plan and their merge to Slurm. */
import { writeLaunch } from '../../../cluster/launchers/launch-record.js'
import {
  maxArrayTasks,
  type SlurmOptions,
  scriptFiles,
  slurmScripts,
  submitSlurm,
} from '../../../cluster/launchers/slurm.js'
import { shardsAtOnce } from '../../../cluster/plan-file.js'
import { notify } from '../../output/notices.js'
import { printOutput } from '../../output/print.js'
import { commandOf, type LaunchFlags, openWork } from './open-work.js'

export interface SlurmFlags extends LaunchFlags, Omit<SlurmOptions, 'tasks' | 'penstock'> {
  readonly tasks?: number
  readonly dryRun?: boolean
}

/** @throws the codes of `openWork` and of the scheduler */
export async function launchSlurm(work: string, flags: SlurmFlags): Promise<void> {
  const { folder, plan } = await openWork(work, flags)
  const tasks = Math.min(shardsAtOnce(plan), flags.tasks ?? (await maxArrayTasks()))
  const scripts = slurmScripts(folder, plan, { ...flags, tasks, penstock: commandOf(flags) })
  if (flags.dryRun) {
    printOutput(
      scriptFiles(folder, scripts)
        .map(([path, text]) => `# ${path}\n${text}`)
        .join('\n'),
    )
    return
  }
  const launch = await submitSlurm(folder, scripts)
  await writeLaunch(folder, launch)
  const text = `submitted Slurm jobs ${launch.arrays.join(', ')} and ${launch.merge} (merge); watch them with penstock launch status ${folder}`
  notify(text, { event: 'launched', folder, ...launch })
}
