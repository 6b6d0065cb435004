/** `penstock launch`: hands the shards of a plan to a scheduler, shows their state and stops them. */

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { type LaunchRecord, readLaunch, writeLaunch } from '../../../cluster/launchers/launch-record.js'
import {
  maxArrayTasks,
  type SlurmOptions,
  slurmQueue,
  slurmScripts,
  stopSlurm,
  submitSlurm,
} from '../../../cluster/launchers/slurm.js'
import { planPathOf, readPlan } from '../../../cluster/plan-file.js'
import { PenstockError } from '../../../errors.js'
import type { Variables } from '../../../pipelines/definition.js'
import { notify } from '../../output/notices.js'
import { printOutput } from '../../output/print.js'
import { rejectUnused } from '../../output/unused-flags.js'
import { openDefinition } from '../open-definition.js'
import { planDefinition, type WrittenPlan } from './plan-shards.js'
import { printShardsStatus } from './shards-status.js'

export interface LaunchFlags {
  readonly shards?: number
  readonly shardFolder?: string
  readonly set?: Variables
  readonly quiet?: boolean
  readonly json?: boolean
  /** Command that runs Penstock on the nodes. */
  readonly penstock?: string
}

/** The plan in a folder, or that of a definition. @throws ARGUMENT_INVALID, and the errors of a plan */
async function openWork(work: string, flags: LaunchFlags): Promise<WrittenPlan> {
  if (existsSync(planPathOf(work))) {
    rejectUnused(flags, ['shards', 'shardFolder', 'set'], 'with the folder of a plan')
    return { folder: resolve(work), plan: await readPlan(work) }
  }
  const { shards } = flags
  if (shards === undefined) {
    throw new PenstockError('ARGUMENT_INVALID', 'a definition needs the number of its shards: --shards COUNT')
  }
  const written = await planDefinition(await openDefinition(work, flags.set), { ...flags, shards })
  return { ...written, folder: resolve(written.folder) }
}

/** By default this very installation, which shared storage provides under the same path. */
const commandOf = ({ penstock }: LaunchFlags): string[] =>
  penstock === undefined ? [process.execPath, resolve(process.argv[1]!)] : penstock.split(' ')

export interface SlurmFlags extends LaunchFlags, Omit<SlurmOptions, 'tasks' | 'penstock'> {
  readonly tasks?: number
  readonly dryRun?: boolean
}

/** @throws the codes of `openWork` and of the scheduler */
export async function launchSlurm(work: string, flags: SlurmFlags): Promise<void> {
  const { folder, plan } = await openWork(work, flags)
  const tasks = Math.min(plan.shards, flags.tasks ?? (await maxArrayTasks()))
  const scripts = slurmScripts(folder, plan, { ...flags, tasks, penstock: commandOf(flags) })
  if (flags.dryRun) {
    printOutput(`# ${folder}/slurm-array.sh\n${scripts.array}\n# ${folder}/slurm-merge.sh\n${scripts.merge}`)
    return
  }
  const record = await submitSlurm(folder, scripts)
  await writeLaunch(folder, record)
  announce(folder, record)
}

function announce(folder: string, record: LaunchRecord): void {
  const text = `submitted Slurm jobs ${record.array} and ${record.merge} (merge); watch them with penstock launch status ${folder}`
  notify(text, { event: 'launched', folder, ...record })
}

/** The state of the shards, and of the jobs that run them. */
export async function printLaunchStatus(folder: string, flags: { readonly json?: boolean }): Promise<void> {
  const record = await readLaunch(folder)
  await printShardsStatus(folder, flags)
  const { array, merge } = await slurmQueue(record)
  const text = (states: readonly string[]): string => (states.length === 0 ? 'not in the queue' : states.join(', '))
  if (flags.json) printOutput(`${JSON.stringify({ ...record, queue: { array, merge } })}\n`)
  else printOutput(`Slurm job ${record.array}: ${text(array)}\nSlurm job ${record.merge} (merge): ${text(merge)}\n`)
}

export async function stopLaunch(folder: string): Promise<void> {
  const record = await readLaunch(folder)
  await stopSlurm(folder, record)
  notify('stopped; the same launch resumes', { event: 'stopped', folder })
}
