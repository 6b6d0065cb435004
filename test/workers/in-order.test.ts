import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { inOrder } from '#src/workers/in-order'

async function* items(numbers: readonly number[]) {
  for (const number of numbers) yield { number, byteLength: 1 }
}
const never = new AbortController().signal
const later = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

async function all<T>(results: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = []
  for await (const result of results) got.push(result)
  return got
}

describe('inOrder', () => {
  it('yields results in input order, however long each takes', async () => {
    const work = async ({ number }: { number: number }) => {
      await later(number % 3 === 0 ? 6 : 1)
      return number
    }
    expect(await all(inOrder(items([0, 1, 2, 3, 4, 5, 6]), 3, work, never))).toEqual([0, 1, 2, 3, 4, 5, 6])
  })

  it('never has more items in flight than the limit', async () => {
    let inFlight = 0
    let maxInFlight = 0
    const work = async () => {
      maxInFlight = Math.max(maxInFlight, ++inFlight)
      await later(1)
      inFlight--
    }
    await all(inOrder(items(Array.from({ length: 20 }, (_, number) => number)), 3, work, never))
    expect(maxInFlight).toBe(3)
  })

  it('fails on a missing batch instead of waiting for it', async () => {
    await expect(all(inOrder(items([0, 2]), 2, async () => 1, never))).rejects.toMatchObject({ code: 'INTERNAL' })
  })

  it('does not retain results that were yielded', async () => {
    setFlagsFromString('--expose_gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const yielded: WeakRef<object>[] = []
    const work = async ({ number }: { number: number }) => ({ number, bytes: new Uint8Array(1000) })
    const numbers = Array.from({ length: 100 }, (_, number) => number)
    for await (const result of inOrder(items(numbers), 3, work, never)) {
      yielded.push(new WeakRef(result))
      if (result.number < 90) continue
      await later(1)
      collectGarbage()
      expect(yielded.slice(0, 80).filter(reference => reference.deref() !== undefined)).toEqual([])
      break
    }
    expect(yielded).toHaveLength(91)
  })

  it('rejects on abort even if work never settles', async () => {
    const abort = new AbortController()
    const hanging = all(inOrder(items([0]), 2, () => new Promise<number>(() => {}), abort.signal))
    abort.abort(new Error('enough'))
    await expect(hanging).rejects.toThrow('enough')
  })
})
