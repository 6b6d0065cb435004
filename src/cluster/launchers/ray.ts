/**
 * Ray: four calls of its Jobs API. The job is the driver `ray/run_shards.py`, which the launch copies into the folder of
 * the plan; it runs each task as a Ray task and merges their outputs.
 *
 * Source: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html
 */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { readWhole } from '../../files/read-at.js'
import { sendRequest, textOf } from '../../files/remote/http-request.js'
import { writeOver } from '../../files/replace-file.js'
import { passArguments, type ShardPlan } from '../plan-file.js'
import type { LaunchRecord } from './launch-record.js'
import { shellCommand } from './shell.js'

const DRIVER = fileURLToPath(new URL('../../../ray/run_shards.py', import.meta.url))
const POLL_MS = 1000

export interface RayOptions {
  readonly address: string
  readonly tasks: number
  /** Cores and bytes of memory that Ray reserves for a task. */
  readonly cpus: number
  readonly memory?: number | undefined
  readonly retries: number
  /** Python of the head node, with Ray. */
  readonly python: string
  /** Image in which the tasks run. */
  readonly container?: string | undefined
  /** Ray's runtime environment, for anything else. */
  readonly runtimeEnv?: Readonly<Record<string, unknown>> | undefined
  /** Command that runs Penstock on the nodes. */
  readonly penstock: readonly string[]
}

export type RayLaunch = Extract<LaunchRecord, { scheduler: 'ray' }>

const jobSchema = z.object({
  status: z.enum(['PENDING', 'RUNNING', 'STOPPED', 'SUCCEEDED', 'FAILED']),
  message: z.string().nullish(),
  driver_exit_code: z.int().nullish(),
})
export type RayJob = z.output<typeof jobSchema>

export const isEnded = ({ status }: RayJob): boolean => status !== 'PENDING' && status !== 'RUNNING'

/** Submits the job of a plan. @throws ENGINE_FAILED, FILE_UNWRITABLE */
export async function submitRay(folder: string, plan: ShardPlan, options: RayOptions): Promise<RayLaunch> {
  const { address, tasks, cpus, memory, retries, python, container, runtimeEnv = {}, penstock } = options
  const driver = join(folder, 'ray-driver.py')
  await writeOver(driver, await readWhole(DRIVER))
  const config = {
    command: [...penstock, 'shards', 'run', folder, '--quiet', '--stop-with-parent'],
    passes: passArguments(plan),
    merge: [...penstock, 'shards', 'merge', folder, '--quiet'],
    tasks,
    cpus,
    memory: memory ?? null,
    retries,
  }
  const job = `penstock-${randomUUID().slice(0, 8)}`
  await request(address, '', {
    submission_id: job,
    entrypoint: shellCommand([python, driver, JSON.stringify(config)]),
    runtime_env: { ...runtimeEnv, ...(container === undefined ? {} : { image_uri: container }) },
    metadata: { penstock_folder: folder },
  })
  return { scheduler: 'ray', address, job }
}

/** @throws ENGINE_FAILED */
export async function rayJob({ address, job }: RayLaunch): Promise<RayJob> {
  const parsed = jobSchema.safeParse(await request(address, job))
  if (parsed.success) return parsed.data
  throw new PenstockError('ENGINE_FAILED', `unexpected answer of Ray at ${address}`, {}, parsed.error)
}

/** Asks Ray to stop the job; its tasks stop, and keep their progress. @throws ENGINE_FAILED */
export async function stopRay({ address, job }: RayLaunch): Promise<void> {
  await request(address, `${job}/stop`, {})
}

/**
 * Waits for the end of a job.
 * @param onLog receives new text of its log
 * @returns undefined after an abort, which leaves the job running
 * @throws ENGINE_FAILED
 */
export async function followRay(
  launch: RayLaunch,
  onLog: (text: string) => void,
  signal: AbortSignal,
): Promise<RayJob | undefined> {
  for (let shown = 0; !signal.aborted; ) {
    const job = await rayJob(launch)
    const { logs } = z.object({ logs: z.string() }).parse(await request(launch.address, `${launch.job}/logs`))
    if (logs.length > shown) onLog(logs.slice(shown))
    shown = logs.length
    if (isEnded(job)) return job
    await sleep(POLL_MS, undefined, { signal }).catch(() => {})
  }
  return undefined
}

/** @param body of a POST; without it, the request is a GET */
async function request(address: string, path: string, body?: object): Promise<unknown> {
  const url = `${address.replace(/\/+$/, '')}/api/jobs/${path}`
  const token = await authToken()
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  const sent = body === undefined ? { url, headers } : { url, headers, method: 'POST', body: JSON.stringify(body) }
  let text: string
  try {
    const response = await sendRequest(sent)
    text = await textOf(response)
    if (response.status === 401 || response.status === 403) {
      text = 'the token was not accepted; set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH'
    }
    if (response.status >= 300) throw new Error(`status ${response.status}: ${text.slice(0, 1000)}`)
  } catch (error) {
    throw new PenstockError('ENGINE_FAILED', `Ray at ${address}: ${(error as Error).message}`, {}, error)
  }
  return JSON.parse(text)
}

/** Ray's own places for the token of a cluster with RAY_AUTH_MODE=token. */
async function authToken(): Promise<string | undefined> {
  const { RAY_AUTH_TOKEN: token, RAY_AUTH_TOKEN_PATH: path = join(homedir(), '.ray', 'auth_token') } = process.env
  if (token !== undefined && token !== '') return token
  return readFile(path, 'utf8').then(
    text => text.trim(),
    () => undefined,
  )
}
