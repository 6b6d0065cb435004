/** Long computations on the main thread yield to the event loop and stop on abort. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { describe, expect, it } from 'vitest'
import { numpyGenerator } from '#src/sampling/numpy-pcg64'
import { pythonRandom } from '#src/sampling/python-random'
import { ascending, finish } from '#src/sampling/slices'
import { torchRandpermSlices } from '#src/sampling/torch-randperm'
import { runInSlices } from '#src/stages/stream/time-slices'

const ITEMS = 3_000_000
const never = new AbortController().signal

describe('runInSlices', () => {
  it.each([
    ['of Python', () => pythonRandom(1).shuffling(finish(ascending(ITEMS)))],
    ['of numpy', () => numpyGenerator(1).shuffling(finish(ascending(ITEMS)))],
    ['of torch', () => torchRandpermSlices(ITEMS, 1)],
  ])('a long shuffle %s does not block the event loop', async (_, shuffle) => {
    const work = shuffle()
    const delay = monitorEventLoopDelay({ resolution: 1 })
    let slices = 0
    const timer = setInterval(() => slices++, 1)
    delay.enable()
    await runInSlices(work as never, never)
    delay.disable()
    clearInterval(timer)
    expect(slices).toBeGreaterThan(2)
    // A slice takes 20 ms; the rest is a margin for busy machines.
    expect(delay.percentile(50) / 1e6).toBeLessThan(60)
  })

  it('rejects with the reason of an abort', async () => {
    const abort = new AbortController()
    let slices = 0
    function* endless() {
      for (;;) {
        slices++
        yield
      }
    }
    setTimeout(() => abort.abort(new Error('enough')), 30)
    await expect(runInSlices(endless(), abort.signal)).rejects.toThrow('enough')
    expect(slices).toBeGreaterThan(0)
  })
})
