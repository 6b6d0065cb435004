/** `penstock launch ray`: submits the shards of a plan as a job of a Ray cluster and follows it. */
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { writeLaunch } from '../../../cluster/launchers/launch-record.js'
import { followRay, type RayLaunch, type RayOptions, stopRay, submitRay } from '../../../cluster/launchers/ray.js'
import { shardsAtOnce } from '../../../cluster/plan-file.js'
import { PenstockError, toPenstockError } from '../../../errors.js'
import { notify, printError } from '../../output/notices.js'
import { printStatus } from '../../output/print.js'
import { stopSignal } from '../../output/signals.js'
import { commandOf, type LaunchFlags, openWork } from './open-work.js'

export interface RayFlags extends LaunchFlags, Omit<RayOptions, 'tasks' | 'penstock' | 'runtimeEnv'> {
  readonly tasks?: number
  /** File with a runtime environment of Ray, in JSON. */
  readonly runtimeEnv?: string
  readonly detach?: boolean
}

/** Ends with the exit code of the driver. @throws the codes of `openWork`; ENGINE_FAILED when Ray does not answer */
export async function launchRay(work: string, flags: RayFlags): Promise<void> {
  const runtimeEnv = await runtimeEnvOf(flags.runtimeEnv)
  const { folder, plan } = await openWork(work, flags)
  const tasks = Math.min(shardsAtOnce(plan), flags.tasks ?? plan.shards)
  const launch = await submitRay(folder, plan, { ...flags, runtimeEnv, tasks, penstock: commandOf(flags) })
  await writeLaunch(folder, launch)
  const text = `submitted Ray job ${launch.job}; watch it with penstock launch status ${folder}`
  notify(text, { event: 'launched', folder, ...launch })
  if (!flags.detach) await follow(launch, flags)
}

async function follow(launch: RayLaunch, flags: LaunchFlags): Promise<void> {
  const ended = await followRay(launch, text => flags.quiet || printStatus(text), stopSignal())
  if (ended === undefined) {
    const isStopped = await asksToStop(launch)
    if (isStopped) await stopRay(launch)
    const text = isStopped ? 'stopped the job; the same launch resumes' : 'detached; the job keeps running'
    return notify(text, { event: isStopped ? 'stopped' : 'detached', job: launch.job })
  }
  if (ended.status === 'SUCCEEDED') return notify('the job succeeded', { event: 'succeeded', job: launch.job })
  // Ray repeats the end of the log, which was printed.
  const [reason] = (ended.message ?? 'see its log').split(', last available logs')
  const message = `Ray job ${launch.job} ${ended.status.toLowerCase()}: ${reason}`
  printError(new PenstockError('ENGINE_FAILED', message))
  process.exitCode = ended.driver_exit_code ?? 1
}

/** Without a terminal the job is left running: the signal was for this command. */
async function asksToStop({ job }: RayLaunch): Promise<boolean> {
  if (!process.stdin.isTTY) return false
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^s/i.test(await terminal.question(`stop job ${job}, or detach and leave it running? [s/D] `))
  } finally {
    terminal.close()
  }
}

/** @throws FILE_MISSING, CONFIG_INVALID */
async function runtimeEnvOf(file: string | undefined): Promise<RayOptions['runtimeEnv']> {
  if (file === undefined) return undefined
  const text = await readFile(file, 'utf8').catch(error => {
    throw toPenstockError(error, 'FILE_MISSING', { file })
  })
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new PenstockError('CONFIG_INVALID', 'a runtime environment of Ray is a JSON object', { file }, error)
  }
}
