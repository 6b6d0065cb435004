/** `penstock launch kubernetes`: writes the manifest of Jobs that run the shards of a plan and merge them. */
import { join } from 'node:path'
import {
  type KubernetesManifest,
  type KubernetesOptions,
  kubernetesManifest,
  MAX_INDEXES,
  parseVolume,
} from '../../../cluster/launchers/kubernetes.js'
import { writeLaunch } from '../../../cluster/launchers/launch-record.js'
import { quoted } from '../../../cluster/launchers/shell.js'
import { shardsAtOnce } from '../../../cluster/plan-file.js'
import { writeOver } from '../../../files/replace-file.js'
import { notify } from '../../output/notices.js'
import { printOutput } from '../../output/print.js'
import { type LaunchFlags, openWork } from './open-work.js'

export interface KubernetesFlags extends LaunchFlags, Omit<KubernetesOptions, 'tasks' | 'penstock' | 'volume'> {
  readonly tasks?: number
  /** `CLAIM:PATH` */
  readonly volume: readonly string[]
  /** File for the manifest; by default `kubernetes.yaml` in the folder of the plan. */
  readonly output?: string
  readonly dryRun?: boolean
}

/** @throws the codes of `openWork` and of `kubernetesManifest`; FILE_UNWRITABLE */
export async function launchKubernetes(work: string, flags: KubernetesFlags): Promise<void> {
  const volume = flags.volume.map(parseVolume)
  const { folder, plan } = await openWork(work, flags)
  const tasks = Math.min(shardsAtOnce(plan), flags.tasks ?? plan.shards, MAX_INDEXES)
  const penstock = (flags.penstock ?? 'penstock').split(' ')
  const manifest = kubernetesManifest(folder, plan, { ...flags, volume, tasks, penstock })
  printOutput(manifest.yaml)
  if (flags.dryRun) return
  const output = flags.output ?? join(folder, 'kubernetes.yaml')
  await writeOver(output, manifest.yaml)
  const { namespace } = flags
  await writeLaunch(folder, {
    scheduler: 'kubernetes',
    jobs: [...manifest.jobs],
    ...(namespace !== undefined && { namespace }),
  })
  if (flags.quiet) return
  const { jobs } = manifest
  notify(nextSteps(output, folder, manifest, flags), { event: 'written', path: output, folder, jobs })
}

function nextSteps(
  output: string,
  folder: string,
  { jobs }: KubernetesManifest,
  { namespace }: KubernetesFlags,
): string {
  const kubectl = namespace === undefined ? 'kubectl' : `kubectl --namespace ${namespace}`
  const release = jobs
    .slice(1)
    .flatMap((job, index) => [
      `${index === 0 ? '  finish: ' : '          '}${kubectl} wait --for=condition=complete --timeout=-1s job/${jobs[index]} &&`,
      `          ${kubectl} patch job ${job} --type=merge -p '{"spec":{"suspend":false}}'${index < jobs.length - 2 ? ' &&' : ''}`,
    ])
  const steps = [
    `  start:  kubectl apply -f ${quoted(output)}`,
    `  watch:  penstock launch status ${quoted(folder)}`,
    ...release,
    `  stop:   penstock launch stop ${quoted(folder)}`,
  ]
  return [`wrote ${output}`, ...steps].join('\n')
}
