/** Long work on the main thread: others have their turn, and an abort ends it in the middle. */
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
  ])('a long shuffle %s never keeps others waiting for long', async (_, shuffle) => {
    const work = shuffle()
    const delay = monitorEventLoopDelay({ resolution: 1 })
    let slices = 0
    const timer = setInterval(() => slices++, 1)
    delay.enable()
    await runInSlices(work as never, never)
    delay.disable()
    clearInterval(timer)
    expect(slices).toBeGreaterThan(2)
    // TimeSlices are of 20 ms; the rest is for machines that are busy with something else.
    expect(delay.percentile(50) / 1e6).toBeLessThan(60)
  })

  it('ends at an abort, with its reason', async () => {
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
