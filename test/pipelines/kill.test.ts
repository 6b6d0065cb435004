/**
 * Runs in child processes killed with SIGKILL: at random moments, several times in a row, and before every system call
 * that changes a file, including those between the last write and the last rename.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { ROOT } from '../cli/support.js'
import { temporaryFolder } from '../stages/support.js'
import { contentOf, type Job, jobs, prepare, run } from './resume-jobs.js'

const folder = temporaryFolder()
const KIND = 'index and pack in one pass'
/** Kill before every n-th call; 1 tests all calls, which takes half an hour. */
const STRIDE = Number(process.env.PENSTOCK_KILL_STRIDE ?? 30)

// Each kill takes two processes, which may take seconds on a busy machine.
vi.setConfig({ testTimeout: 1_500_000, hookTimeout: 120_000 })

beforeAll(() => prepare(folder, 1.4))

/** Child program: runs stages, counts calls that change files, and optionally kills itself before one of them. */
const program = `
  import fs from 'node:fs/promises'
  import { syncBuiltinESMExports } from 'node:module'
  const [stages, killBefore] = JSON.parse(process.argv[1])
  let calls = 0
  let wholeMs = 0
  const counted = call => function (...args) {
    if (++calls === killBefore) process.kill(process.pid, 'SIGKILL')
    return call.apply(this, args)
  }
  const handle = await fs.open(process.execPath)
  const prototype = Object.getPrototypeOf(handle)
  await handle.close()
  for (const name of ['write', 'sync', 'truncate', 'writeFile']) prototype[name] = counted(prototype[name])
  for (const name of ['rename', 'rm', 'open']) fs[name] = counted(fs[name])
  syncBuiltinESMExports()
  const { checkDefinition, definitionOf, runPipeline } = await import('#src/pipelines/index')
  const [pipeline] = checkDefinition(definitionOf({ stages }))
  await runPipeline(pipeline, { markBytes: 150_000, onResume: event => console.log(event.kind) })
  console.log('calls ' + calls)
`

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

function inProcess(job: Job, kill: { readonly beforeCall?: number; readonly afterMs?: number } = {}): Promise<Ended> {
  const task = JSON.stringify([job.stages, kill.beforeCall])
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, task], { cwd: ROOT })
  let out = ''
  let err = ''
  child.stdout.on('data', text => {
    out += text
  })
  child.stderr.on('data', text => {
    err += text
  })
  const timer = kill.afterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), kill.afterMs)
  return new Promise(resolve =>
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, out, err })
    }),
  )
}

/** Kills one run, runs it again, and expects exactly the files of an uninterrupted run. */
function expectSame(killed: Job, whole: Job): void {
  expect(contentOf(killed).map((content, index) => content === contentOf(whole)[index])).toEqual(
    killed.outputs.map(() => true),
  )
  const left = readdirSync(folder).filter(
    file => file.startsWith('killed') && !killed.outputs.includes(join(folder, file)),
  )
  expect(left).toEqual([])
  for (const path of killed.outputs) rmSync(path)
}

/** Runs a killed job to completion; `whole` if it was killed after all renames. */
async function again(job: Job): Promise<string> {
  const { code, out, err } = await inProcess(job)
  if (code === 1 && err.includes("code: 'FILE_EXISTS'") && job.outputs.every(existsSync)) return 'whole'
  expect([code, err]).toEqual([0, ''])
  return out
}

describe('a killed run', () => {
  const whole = jobs(folder, 'whole')[KIND]!
  const killed = jobs(folder, 'killed')[KIND]!
  let calls = 0
  let wholeMs = 0

  it('has a reference: the same run uninterrupted', async () => {
    await run(whole)
    const started = performance.now()
    const { code, out, err } = await inProcess(killed)
    wholeMs = performance.now() - started
    expect([code, err]).toEqual([0, ''])
    calls = Number(/calls (\d+)/.exec(out)![1])
    expect(calls).toBeGreaterThan(50)
    expectSame(killed, whole)
  })

  it('leaves exactly the same files when run again, killed before any call that changes a file', async () => {
    const outs: string[] = []
    // The number of calls varies slightly, because which syncs coincide depends on timing.
    for (let call = 1; call <= calls - 5; call += STRIDE) {
      expect(await inProcess(killed, { beforeCall: call })).toMatchObject({ signal: 'SIGKILL' })
      outs.push(await again(killed))
      expectSame(killed, whole)
    }
    expect(outs.join()).toContain('continued')
  })

  it('is finished when it was killed before the calls that rename outputs', async () => {
    const outs: string[] = []
    for (let call = calls - 40; call <= calls; call += Math.min(STRIDE, 6)) {
      await inProcess(killed, { beforeCall: call })
      outs.push(await again(killed))
      expectSame(killed, whole)
    }
    expect(outs.join()).toContain('finished')
  })

  it('resumes when killed at random moments, up to five times in a row', async () => {
    let kills = 0
    for (let round = 0; round < 3; round++) {
      for (let kill = 0; kill < 5; kill++) {
        const { signal } = await inProcess(killed, { afterMs: wholeMs * (0.3 + 0.12 * kill + 0.05 * round) })
        if (signal !== 'SIGKILL') break
        kills++
      }
      if (!killed.outputs.every(existsSync)) await again(killed)
      expectSame(killed, whole)
    }
    expect(kills).toBeGreaterThan(0)
  })
})
