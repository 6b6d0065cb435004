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
  it('hands results on in the order of the input, however long each takes', async () => {
    const work = async ({ number }: { number: number }) => {
      await later(number % 3 === 0 ? 6 : 1)
      return number
    }
    expect(await all(inOrder(items([0, 1, 2, 3, 4, 5, 6]), 3, work, never))).toEqual([0, 1, 2, 3, 4, 5, 6])
  })

  it('never has more under way than the limit', async () => {
    let underWay = 0
    let most = 0
    const work = async () => {
      most = Math.max(most, ++underWay)
      await later(1)
      underWay--
    }
    await all(inOrder(items(Array.from({ length: 20 }, (_, number) => number)), 3, work, never))
    expect(most).toBe(3)
  })

  it('takes a missing batch for an error, not for a reason to wait', async () => {
    await expect(all(inOrder(items([0, 2]), 2, async () => 1, never))).rejects.toMatchObject({ code: 'INTERNAL' })
  })

  it('keeps no result that was handed on', async () => {
    setFlagsFromString('--expose_gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const handedOn: WeakRef<object>[] = []
    const work = async ({ number }: { number: number }) => ({ number, bytes: new Uint8Array(1000) })
    const numbers = Array.from({ length: 100 }, (_, number) => number)
    for await (const result of inOrder(items(numbers), 3, work, never)) {
      handedOn.push(new WeakRef(result))
      if (result.number < 90) continue
      await later(1)
      collectGarbage()
      expect(handedOn.slice(0, 80).filter(reference => reference.deref() !== undefined)).toEqual([])
      break
    }
    expect(handedOn).toHaveLength(91)
  })

  it('ends on an abort although work hangs', async () => {
    const abort = new AbortController()
    const hanging = all(inOrder(items([0]), 2, () => new Promise<number>(() => {}), abort.signal))
    abort.abort(new Error('enough'))
    await expect(hanging).rejects.toThrow('enough')
  })
})
