/** State and end of the Jobs of a launch, from `kubectl` with the user's configuration. */
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import type { LaunchRecord } from './launch-record.js'
import { runProgram } from './shell.js'

export type KubernetesLaunch = Extract<LaunchRecord, { scheduler: 'kubernetes' }>

const listSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      spec: z.object({ suspend: z.boolean().optional() }),
      status: z.object({
        active: z.number().default(0),
        succeeded: z.number().default(0),
        failed: z.number().default(0),
        failedIndexes: z.string().default(''),
        conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]),
      }),
    }),
  ),
})
type Job = z.output<typeof listSchema>['items'][number]

/** State of each Job, such as `Failed, 3 pods succeeded, 1 failed (indexes 7)`; `not in the cluster` if it has none. */
export async function kubernetesJobs(launch: KubernetesLaunch): Promise<Readonly<Record<string, string>>> {
  const { jobs } = launch
  const args = ['get', 'jobs', ...jobs, '--ignore-not-found', '--output', 'json']
  const text = (await kubectl(launch, args)).trim()
  const items = text === '' ? [] : parsedList(text)
  return Object.fromEntries(
    jobs.map(name => {
      const job = items.find(({ metadata }) => metadata.name === name)
      return [name, job === undefined ? 'not in the cluster' : describe(job)]
    }),
  )
}

/** Deletes the Jobs and their pods. @throws PEER_MISSING, ENGINE_FAILED */
export async function stopKubernetes(launch: KubernetesLaunch): Promise<void> {
  await kubectl(launch, ['delete', 'jobs', ...launch.jobs, '--ignore-not-found'])
}

const kubectl = ({ namespace }: KubernetesLaunch, args: readonly string[]): Promise<string> =>
  runProgram('kubectl', [...(namespace === undefined ? [] : ['--namespace', namespace]), ...args])

/** kubectl prints one Job as itself, and several as a list. @throws ENGINE_FAILED */
function parsedList(text: string): readonly Job[] {
  try {
    const value = JSON.parse(text) as { readonly items?: unknown }
    return listSchema.parse(value.items === undefined ? { items: [value] } : value).items
  } catch (error) {
    throw new PenstockError('ENGINE_FAILED', 'unexpected answer of kubectl get jobs', {}, error)
  }
}

function describe({ spec, status }: Job): string {
  const { active, succeeded, failed, failedIndexes, conditions } = status
  const ended = conditions.find(({ type, status }) => status === 'True' && (type === 'Complete' || type === 'Failed'))
  const state = ended?.type ?? (spec.suspend === true ? 'Suspended' : 'Running')
  const indexes = failedIndexes === '' ? '' : ` (indexes ${failedIndexes})`
  const pods = Object.entries({ running: active, succeeded, failed }).filter(([, count]) => count > 0)
  return [state, ...pods.map(([what, count]) => `${count} ${what}${what === 'failed' ? indexes : ''}`)].join(', ')
}
