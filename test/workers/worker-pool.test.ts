/** Worker pools: shared between runs, fair, started immediately, closed soon, and not keeping a process alive. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { PenstockError } from '#src/errors'
import { openWorkers, type Workers } from '#src/workers/worker-pool'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const file = new URL('./sabotaged/pool-worker.mjs', import.meta.url)
let setups = 0
const setup = () => ({ starts: join(folder, `starts-${setups++}`) })
const started = ({ starts }: { starts: string }): number =>
  existsSync(starts) ? readFileSync(starts, 'utf8').trimEnd().split('\n').length : 0

const open: Workers[] = []
function use(options: { workers: number; setup: unknown }): Workers {
  const workers = openWorkers({ file, ...options })
  open.push(workers)
  return workers
}
afterEach(() => Promise.all(open.map(workers => workers.close())))

describe('a pool of workers', () => {
  it('starts all workers before the first task', async () => {
    const options = { workers: 3, setup: setup() }
    use(options)
    await vi.waitFor(() => expect(started(options.setup)).toBe(3), 10_000)
  })

  it('is reused only by runs with the same setup', async () => {
    const options = { workers: 1, setup: setup() }
    const first = use(options)
    const thread = await first.run('thread', undefined)
    await first.close()
    const second = use(options)
    expect(await second.run('thread', undefined)).toBe(thread)
    expect(await use({ ...options, setup: setup() }).run('thread', undefined)).not.toBe(thread)
    expect(started(options.setup)).toBe(1)
  })

  it('alternates between two concurrent runs', async () => {
    const options = { workers: 1, setup: setup() }
    const [first, second] = [use(options), use(options)]
    const order: string[] = []
    const task = (name: string, workers: Workers) => workers.run('pause', 5).then(() => order.push(name))
    await Promise.all([task('a', first), task('b', second), task('a', first), task('b', second)])
    expect(order).toEqual(['a', 'b', 'a', 'b'])
  })

  it('starts urgent tasks before those that wait', async () => {
    const workers = use({ workers: 1, setup: setup() })
    const order: string[] = []
    const task = (name: string, isUrgent: boolean) => workers.run('pause', 5, { isUrgent }).then(() => order.push(name))
    await Promise.all([task('running', false), task('waiting', false), task('urgent', true)])
    expect(order).toEqual(['running', 'urgent', 'waiting'])
  })

  it('replaces a worker that loops, after the timeout', async () => {
    const workers = use({ workers: 1, setup: setup() })
    const thread = await workers.run('thread', undefined)
    await expect(workers.run('loop', undefined)).rejects.toMatchObject({ code: 'WORKER_HUNG' })
    expect(await workers.run('thread', undefined)).not.toBe(thread)
  })

  it('closes soon even if a worker loops, and rejects queued tasks', async () => {
    const workers = use({ workers: 1, setup: setup() })
    await workers.run('thread', undefined)
    const stuck = workers.run<never>('loop', undefined).catch((error: PenstockError) => error)
    const waiting = workers.run('thread', undefined).catch(error => error)
    const before = performance.now()
    await workers.close()
    expect(performance.now() - before).toBeLessThan(3000)
    expect((await stuck).code).toMatch(/STOPPED|WORKER_HUNG/)
    expect(await waiting).toMatchObject({ code: 'STOPPED' })
    await expect(workers.run('thread', undefined)).rejects.toMatchObject({ code: 'STOPPED' })
  })

  it.runIf(process.platform === 'linux')('does not keep a process alive when idle', () => {
    const pool = fileURLToPath(new URL('../../dist/workers/worker-pool.js', import.meta.url))
    const script = join(folder, 'run.mjs')
    writeFileSync(
      script,
      `import { openWorkers } from ${JSON.stringify(pool)}
       const workers = openWorkers({ file: new URL(${JSON.stringify(file.href)}), workers: 2 })
       await workers.run('thread', undefined)
       await workers.close()
       const ended = performance.now()
       process.on('exit', () => console.log(performance.now() - ended))`,
    )
    expect(Number(execFileSync(process.execPath, [script], { encoding: 'utf8' }))).toBeLessThan(1000)
  })

  it.runIf(process.platform === 'linux')('fails soon with the cause when threads cannot start', () => {
    const from = (name: string): string =>
      JSON.stringify(fileURLToPath(new URL(`../../dist/workers/${name}.js`, import.meta.url)))
    const script = join(folder, 'crowded.mjs')
    writeFileSync(
      script,
      `import { closeSync, openSync } from 'node:fs'
       import { runWithoutPoison } from ${from('poison-records')}
       import { openWorkers } from ${from('worker-pool')}
       const files = []
       try { for (;;) files.push(openSync('/dev/null')) } catch {}
       for (const file of files.splice(0, 4)) closeSync(file)
       const workers = openWorkers({ file: new URL(${JSON.stringify(file.href)}), workers: 2 })
       const outcome = await runWithoutPoison(() => workers.run('thread')).catch(error => error.toLine())
       await workers.close()
       console.log(outcome)`,
    )
    const out = execFileSync('sh', ['-c', `ulimit -n 80; exec '${process.execPath}' '${script}'`], { encoding: 'utf8' })
    // A thread may get as far as opening its module.
    expect(out).toMatch(/EMFILE(: too many open files, open '.*')? \[WORKER_DIED\]/)
  })
})
