/** `penstock launch status` and `stop`: the jobs that run the shards of a plan. */
import { kubernetesJobs, stopKubernetes } from '../../../cluster/launchers/kubectl.js'
import { type LaunchRecord, readLaunch } from '../../../cluster/launchers/launch-record.js'
import { rayJob, stopRay } from '../../../cluster/launchers/ray.js'
import { slurmQueue, stopSlurm } from '../../../cluster/launchers/slurm.js'
import { notify } from '../../output/notices.js'
import { printOutput } from '../../output/print.js'
import { printShardsStatus } from './shards-status.js'

/** The state of the shards, and of the jobs that run them. */
export async function printLaunchStatus(folder: string, flags: { readonly json?: boolean }): Promise<void> {
  const launch = await readLaunch(folder)
  await printShardsStatus(folder, flags)
  const { facts, lines } = await jobsOf(launch)
  printOutput(flags.json ? `${JSON.stringify({ ...launch, ...facts })}\n` : lines.map(line => `${line}\n`).join(''))
}

async function jobsOf(launch: LaunchRecord): Promise<{ readonly facts: object; readonly lines: readonly string[] }> {
  if (launch.scheduler === 'ray') {
    const job = await rayJob(launch)
    return { facts: job, lines: [`Ray job ${launch.job}: ${job.status}${job.message ? `, ${job.message}` : ''}`] }
  }
  if (launch.scheduler === 'kubernetes') {
    const states = await kubernetesJobs(launch)
    return { facts: { states }, lines: Object.entries(states).map(([job, state]) => `Kubernetes job ${job}: ${state}`) }
  }
  const queue = await slurmQueue(launch)
  const text = (states: readonly string[]): string => (states.length === 0 ? 'not in the queue' : states.join(', '))
  return {
    facts: { queue },
    lines: [
      ...launch.arrays.map((array, pass) => `Slurm job ${array}: ${text(queue.arrays[pass]!)}`),
      `Slurm job ${launch.merge} (merge): ${text(queue.merge)}`,
    ],
  }
}

export async function stopLaunch(folder: string): Promise<void> {
  const launch = await readLaunch(folder)
  if (launch.scheduler === 'ray') await stopRay(launch)
  else if (launch.scheduler === 'kubernetes') await stopKubernetes(launch)
  else await stopSlurm(folder, launch)
  notify('stopped; the same launch resumes', { event: 'stopped', folder })
}
