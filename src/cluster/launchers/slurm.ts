/**
 * Slurm: an array job runs the shards, and a dependent job merges them. Slurm restarts the tasks of nodes that fail; a task
 * that ends with exit code 75, or at its time limit, puts itself back into the queue.
 */
import { existsSync } from 'node:fs'
import { chmod, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { changing } from '../../files/durable.js'
import { TRY_AGAIN } from '../exit-codes.js'
import { passArguments, type ShardPlan } from '../plan-file.js'
import type { LaunchRecord } from './launch-record.js'
import { quoted, runProgram, shellCommand } from './shell.js'

export interface SlurmOptions {
  /** Tasks that run at the same time; undefined for as many as Slurm starts. */
  readonly nodes?: number | undefined
  /** Array tasks; each runs several shards if there are more. */
  readonly tasks: number
  readonly cpus: number
  /** As sbatch expects them, such as `8G` and `12:00:00`. */
  readonly memory?: string | undefined
  readonly time?: string | undefined
  readonly partition?: string | undefined
  readonly account?: string | undefined
  /** More lines for both scripts, such as `--qos=long`. */
  readonly sbatch?: readonly string[] | undefined
  /** Restarts of a task after exit code 75; those after the loss of a node count. */
  readonly retries: number
  /** Command that runs Penstock on the nodes. */
  readonly penstock: readonly string[]
}

type SlurmLaunch = Extract<LaunchRecord, { scheduler: 'slurm' }>

export interface SlurmScripts {
  /** One for each pass. */
  readonly arrays: readonly string[]
  readonly merge: string
}

/** Seconds before the time limit at which a task is asked to stop. */
const STOP_BEFORE_S = 60
/** Default limit of array indices. */
const MAX_ARRAY_SIZE = 1001

/** `slurm-array.sh`; of a second pass `slurm-array-2.sh`. */
const arrayPath = (folder: string, pass: number): string =>
  join(folder, pass === 0 ? 'slurm-array.sh' : `slurm-array-${pass + 1}.sh`)
const mergePath = (folder: string): string => join(folder, 'slurm-merge.sh')
/** While this file exists, tasks that are stopped do not return to the queue. */
const stopPath = (folder: string): string => join(folder, 'slurm-stop')

/** Largest number of array tasks that the cluster accepts. */
export async function maxArrayTasks(): Promise<number> {
  const config = await runProgram('scontrol', ['show', 'config']).catch(() => '')
  return Number(/MaxArraySize\s*=\s*(\d+)/.exec(config)?.[1] ?? MAX_ARRAY_SIZE) - 1
}

/** The scripts of all jobs. */
export function slurmScripts(folder: string, plan: ShardPlan, options: SlurmOptions): SlurmScripts {
  const merge = [
    ...header(plan, 'merge', options),
    '#SBATCH --requeue --open-mode=append',
    `#SBATCH --output=${join(folder, 'slurm-merge.log')}`,
    '',
    `exec ${shellCommand([...options.penstock, 'shards', 'merge', folder])}`,
  ]
  const arrays = passArguments(plan).map(args => arrayScript(folder, plan, args, options))
  return { arrays, merge: `${merge.join('\n')}\n` }
}

/** @param args of `shards run` for the pass */
function arrayScript(folder: string, plan: ShardPlan, args: readonly string[], options: SlurmOptions): string {
  const { tasks, nodes, penstock, retries } = options
  const limit = nodes === undefined ? '' : `%${nodes}`
  const command = shellCommand([...penstock, 'shards', 'run', folder, ...args])
  const run = `${command} --shard "$SLURM_ARRAY_TASK_ID/${tasks}" --quiet`
  const array = [
    ...header(plan, 'shards', options),
    `#SBATCH --array=0-${tasks - 1}${limit}`,
    '#SBATCH --requeue --open-mode=append',
    `#SBATCH --signal=B:TERM@${STOP_BEFORE_S}`,
    `#SBATCH --output=${join(folder, 'slurm-%a.log')}`,
    '',
    '# In the background: bash runs a trap only after a program in the foreground has ended.',
    `${run} &`,
    'pid=$!',
    `trap 'kill -TERM "$pid"' TERM`,
    'wait "$pid"; code=$?',
    '# A signal ends wait before the program ends.',
    'while kill -0 "$pid" 2>/dev/null; do wait "$pid"; code=$?; done',
    `if { [ "$code" -eq ${TRY_AGAIN} ] || [ "$code" -gt 128 ]; } && [ "\${SLURM_RESTART_COUNT:-0}" -lt ${retries} ] &&`,
    `  [ ! -e ${quoted(stopPath(folder))} ]; then`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: variables of the shell
    '  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"',
    'fi',
    'exit "$code"',
  ]
  return `${array.join('\n')}\n`
}

function header(plan: ShardPlan, kind: string, options: SlurmOptions): string[] {
  const { cpus, memory, time, partition, account, sbatch = [] } = options
  const optional = Object.entries({ mem: memory, time, partition, account })
  return [
    '#!/bin/bash',
    `#SBATCH --job-name=${plan.name.replaceAll(/\W/g, '-')}-${kind}`,
    `#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=${cpus}`,
    ...optional.flatMap(([name, value]) => (value === undefined ? [] : [`#SBATCH --${name}=${value}`])),
    ...sbatch.map(option => `#SBATCH ${option}`),
  ]
}

/** The scripts by their paths in the folder. */
export function scriptFiles(folder: string, { arrays, merge }: SlurmScripts): readonly (readonly [string, string])[] {
  return [...arrays.map((text, pass) => [arrayPath(folder, pass), text] as const), [mergePath(folder), merge]]
}

/**
 * Writes the scripts into the folder and submits them, each dependent on the one before.
 * @throws PEER_MISSING, ENGINE_FAILED, FILE_UNWRITABLE
 */
export async function submitSlurm(folder: string, scripts: SlurmScripts): Promise<SlurmLaunch> {
  await changing(stopPath(folder), () => rm(stopPath(folder), { force: true }))
  const jobs: string[] = []
  for (const [path, text] of scriptFiles(folder, scripts)) {
    await changing(path, async () => {
      await writeFile(path, text)
      await chmod(path, 0o755)
    })
    // Without the second option, a job would wait for ever for one that failed.
    const after = jobs.length === 0 ? [] : [`--dependency=afterok:${jobs.at(-1)}`, '--kill-on-invalid-dep=yes']
    jobs.push(await submit([...after, path]))
  }
  return { scheduler: 'slurm', arrays: jobs.slice(0, -1), merge: jobs.at(-1)! }
}

/** @returns the number of the job; sbatch adds the cluster after a semicolon */
async function submit(args: readonly string[]): Promise<string> {
  return (await runProgram('sbatch', ['--parsable', ...args])).trim().split(';')[0]!
}

/** States of the tasks in the queue, such as `3 RUNNING`, `2 PENDING (BeginTime)`, for each job. */
export async function slurmQueue({ arrays, merge }: SlurmLaunch): Promise<{ arrays: string[][]; merge: string[] }> {
  const found: string[][] = []
  for (const array of arrays) found.push(await statesOf(array))
  return { arrays: found, merge: await statesOf(merge) }
}

async function statesOf(job: string): Promise<string[]> {
  // Slurm forgets a job some minutes after its end, and rejects its number then.
  const lines = await runProgram('squeue', ['-r', '-h', '-o', '%T %r', '-j', job]).catch(() => '')
  const counts = new Map<string, number>()
  for (const line of lines.split('\n')) {
    if (line === '') continue
    const [state = '', reason = 'None'] = line.split(' ')
    const text = reason === 'None' ? state : `${state} (${reason})`
    counts.set(text, (counts.get(text) ?? 0) + 1)
  }
  return [...counts].map(([text, count]) => `${count} ${text}`)
}

/** Cancels all jobs; they can be launched again, and resume. @throws PEER_MISSING, ENGINE_FAILED, FILE_UNWRITABLE */
export async function stopSlurm(folder: string, { arrays, merge }: SlurmLaunch): Promise<void> {
  if (!existsSync(stopPath(folder))) await changing(stopPath(folder), () => writeFile(stopPath(folder), ''))
  await runProgram('scancel', [merge, ...arrays.toReversed()])
}
