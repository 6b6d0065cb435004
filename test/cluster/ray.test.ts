/**
 * `penstock launch ray` with a stand-in for Ray's Jobs API, whose answers have the form of Ray 2.60; scripts/ray-check.mjs runs
 * the same on a real cluster.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { penstock, start } from '../cli/support.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const TOKEN = 'token of the cluster'
const env = { RAY_AUTH_TOKEN: TOKEN }
let address = ''
let submitted: Record<string, unknown> | undefined
let stopped: string | undefined
let polls = 0
/** State of the job after a few polls. */
let end: object = {}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = ''
  for await (const chunk of request) text += chunk
  return JSON.parse(text)
}

const server = createServer(async (request, response) => {
  const answer = (status: number, value: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  }
  if (request.headers.authorization !== `Bearer ${TOKEN}`) return answer(401, {})
  const [, , , job = '', action] = request.url!.split('/')
  if (request.method === 'POST' && job === '') {
    submitted = await bodyOf(request)
    return answer(200, { job_id: submitted.submission_id, submission_id: submitted.submission_id })
  }
  if (action === 'stop') {
    stopped = job
    return answer(200, { stopped: true })
  }
  if (action === 'logs') return answer(200, { logs: 'line 1\nline 2\n'.slice(0, 7 * polls) })
  polls++
  return answer(200, { status: 'RUNNING', message: 'Job is running.', driver_exit_code: null, ...(polls > 1 && end) })
})

beforeAll(async () => {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  writeFileSync(join(folder, 'corpus.jsonl'), '{"text":"a line"}\n'.repeat(10))
  const args = ['index', 'corpus.jsonl', '--shards', '2', '--shard-folder', 'shards']
  expect(await penstock(args, folder)).toMatchObject({ code: 0 })
})
afterAll(() => void server.close())
beforeEach(() => {
  polls = 0
})

const launch = (...args: string[]) => penstock(['launch', ...args], folder, env)

describe('launch ray', () => {
  it('submits the driver with its tasks, prints the log and ends with the job', async () => {
    end = { status: 'SUCCEEDED', driver_exit_code: 0 }
    mkdirSync(join(folder, 'environment'))
    writeFileSync(join(folder, 'environment', 'env.json'), '{"env_vars":{"A":"1"}}')
    const options = ['--memory', '2G', '--container', 'image', '--runtime-env', 'environment/env.json']
    const { code, err } = await launch('ray', 'shards', '--address', address, '--penstock', 'npx penstock', ...options)
    expect(code).toBe(0)
    expect(err.match(/line \d/g)).toEqual(['line 1', 'line 2'])
    const place = join(folder, 'shards')
    const [, driver, config] = /^python3 (\S+) '(.*)'$/.exec(submitted!.entrypoint as string)!
    expect(readFileSync(driver!, 'utf8')).toContain('ray.remote')
    expect(JSON.parse(config!)).toEqual({
      command: ['npx', 'penstock', 'shards', 'run', place, '--quiet', '--stop-with-parent'],
      passes: [[]],
      merge: ['npx', 'penstock', 'shards', 'merge', place, '--quiet'],
      tasks: 2,
      cpus: 1,
      memory: 2 * 1024 ** 3,
      retries: 3,
    })
    expect(submitted!.runtime_env).toEqual({ env_vars: { A: '1' }, image_uri: 'image' })
  })

  it('ends with the exit code of the driver', async () => {
    end = { status: 'FAILED', driver_exit_code: 65, message: 'faulty input' }
    const { code, err } = await launch('ray', 'shards', '--address', address)
    expect(code).toBe(65)
    expect(err).toContain('ENGINE_FAILED')
  })

  it('can detach; status and stop find the job', async () => {
    end = {}
    expect(await launch('ray', 'shards', '--address', address, '--detach')).toMatchObject({ code: 0 })
    expect((await launch('status', 'shards')).out).toContain(`Ray job ${submitted!.submission_id}: RUNNING`)
    expect(await launch('stop', 'shards')).toMatchObject({ code: 0 })
    expect(stopped).toBe(submitted!.submission_id)
  })

  it('leaves the job running when a signal ends the command', async () => {
    end = {}
    stopped = undefined
    const command = start(['launch', 'ray', 'shards', '--address', address], folder, env)
    await command.shows('line 2')
    command.kill('SIGINT')
    expect((await command.outcome).err).toContain('detached')
    expect(stopped).toBeUndefined()
  })

  it('names the cluster that does not accept its token', async () => {
    const { code, err } = await penstock(['launch', 'ray', 'shards', '--address', address], folder, {
      RAY_AUTH_TOKEN: 'x',
    })
    expect(code).toBe(1)
    expect(err).toContain('RAY_AUTH_TOKEN')
  })
})
