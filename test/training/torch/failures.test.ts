/** Ranks that fail: the error says which, and how. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FINITE_LIMITS } from '#src/training/engine'
import { temporaryFolder } from '../../stages/support.js'
import { descendants, losses, openSmall, slow, smallBatch, torchPython } from './fixtures.js'

const folder = temporaryFolder()

/** Ids of the ranks, in the order in which torchrun started them. */
const rankPids = (): number[] => descendants(process.pid, '-u -m penstock_torch')

/** A process that has ended stays a zombie until its parent asks for its exit code. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

describe.skipIf(torchPython === undefined)('a rank', { timeout: slow }, () => {
  test('leaves the weights unchanged in a step that is not within the limits; killed by a signal, it is named with the signal', async () => {
    const engine = await openSmall('torch', 2)
    const batch = [smallBatch(0)]
    const untrained = await engine.evaluate(smallBatch(1))
    const { loss: first, gradientNorm: norm } = await engine.step(batch, 1e-3, { loss: 1, gradientNorm: 1e9 })
    await engine.step(batch, 1e-3, { loss: first, gradientNorm: 0.9 * norm })
    expect(await engine.evaluate(smallBatch(1))).toEqual(untrained)
    await engine.step(batch, 1e30, { loss: first, gradientNorm: norm })
    const before = await engine.evaluate(smallBatch(1))
    expect(before).not.toEqual(untrained)
    const { loss, gradientNorm } = await engine.step(batch, 1e-3, FINITE_LIMITS)
    expect(Number.isFinite(loss) && Number.isFinite(gradientNorm)).toBe(false)
    expect(await engine.evaluate(smallBatch(1))).toEqual(before)
    expect(engine.stepsTaken).toBe(1)
    process.kill(rankPids()[1]!, 'SIGKILL')
    await expect(losses(engine, 2, 1)).rejects.toMatchObject({
      code: 'ENGINE_FAILED',
      message: expect.stringContaining('rank 1 of the torch engine was killed by SIGKILL'),
    })
    await engine.close()
    expect(rankPids()).toEqual([])
  })

  test('that is stopped ends the run within the timeout and is named', async () => {
    const engine = await openSmall('torch', 2, { torch: { step_timeout_s: 3 }, checkpoint: { folder } })
    await losses(engine, 1)
    const pids = rankPids()
    process.kill(pids[1]!, 'SIGSTOP')
    const started = Date.now()
    await expect(losses(engine, 2, 1)).rejects.toMatchObject({
      code: 'ENGINE_FAILED',
      message: expect.stringMatching(
        /rank 1 does not respond.*penstock-timeout-.*: collectives-rank-0, rank-0.stacks.txt/,
      ),
    })
    expect(Date.now() - started).toBeLessThan(30_000)
    const [report] = readdirSync(folder)
    const of = (name: string) => readFileSync(join(folder, report!, name), 'latin1')
    expect(of('rank-0.stacks.txt')).toMatch(/engine\.py", line \d+ in step/)
    expect(of('collectives-rank-0')).toContain('gloo:')
    await engine.close()
    // A rank that outlives torchrun is no descendant any more.
    await expect.poll(() => pids.filter(isRunning), { timeout: 5000 }).toEqual([])
  })

  test('that starts too slowly ends the start', async () => {
    await expect(openSmall('torch', 1, { torch: { start_timeout_s: 0.1 } })).rejects.toMatchObject({
      code: 'ENGINE_FAILED',
      message: expect.stringContaining('start_timeout_s'),
    })
    expect(rankPids()).toEqual([])
  })

  test('that is still starting ends at once when the run is stopped', async () => {
    const abort = new AbortController()
    const starting = openSmall('torch', 2, {}, {}, abort.signal)
    setTimeout(() => abort.abort(), 300)
    const started = Date.now()
    await expect(starting).rejects.toMatchObject({ code: 'STOPPED' })
    expect(Date.now() - started).toBeLessThan(3000)
    expect(rankPids()).toEqual([])
  })
})
