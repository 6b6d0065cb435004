import { describe, expect, it } from 'vitest'
import { inOrder } from '#src/stages/in-order'

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

  it('ends on an abort although work hangs', async () => {
    const abort = new AbortController()
    const hanging = all(inOrder(items([0]), 2, () => new Promise<number>(() => {}), abort.signal))
    abort.abort(new Error('enough'))
    await expect(hanging).rejects.toThrow('enough')
  })
})
