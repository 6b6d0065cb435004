import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { sink, source, transform } from '#src/stages/stream/stage'

const numbers = (from = 0, to = Number.POSITIVE_INFINITY, log: string[] = []) =>
  source<number>('numbers', async function* () {
    try {
      for (let value = from; value < to; value++) yield value
      log.push('source completed')
    } finally {
      log.push('source closed')
    }
  })

const double = (log: string[] = []) =>
  transform<number, number>('double', async function* (input) {
    try {
      for await (const value of input) yield 2 * value
      log.push('transform completed')
    } finally {
      log.push('transform closed')
    }
  })

const collect = (into: unknown[]) =>
  sink<unknown>('collect', async input => {
    for await (const value of input) into.push(value)
  })

describe('stage', () => {
  it('delivers every item in order through node pipeline()', async () => {
    const got: unknown[] = []
    await pipeline(numbers(0, 1000), double(), double(), collect(got))
    expect(got).toEqual(Array.from({ length: 1000 }, (_, value) => 4 * value))
  })

  it('ends an endless source without error when the sink returns early', async () => {
    const log: string[] = []
    const got: number[] = []
    const first5 = sink<number>('first5', async input => {
      for await (const value of input) if (got.push(value) === 5) return
    })
    await pipeline(numbers(0, undefined, log), double(log), first5)
    expect(got).toEqual([0, 2, 4, 6, 8])
    expect(log).toContain('source closed')
    expect(log).not.toContain('source completed')
    expect(log).toContain('transform closed')
  })

  it('ends an endless source when a transform returns early', async () => {
    const got: unknown[] = []
    const first3 = transform<number, number>('first3', async function* (input) {
      let count = 0
      for await (const value of input) {
        yield value
        if (++count === 3) return
      }
    })
    await pipeline(numbers(), first3, collect(got))
    expect(got).toEqual([0, 1, 2])
  })

  it.each([
    ['source', [(): never => raise(), undefined, undefined]],
    ['transform', [undefined, (): never => raise(), undefined]],
    ['sink', [undefined, undefined, (): never => raise()]],
  ] as const)(
    'propagates an error of the %s and closes the other stages',
    async (_where, [inSource, inTransform, inSink]) => {
      const log: string[] = []
      const faulty = source<number>('faulty', async function* () {
        try {
          for (let value = 0; ; value++) {
            if (value === 3) inSource?.()
            yield value
          }
        } finally {
          log.push('source closed')
        }
      })
      const middle = transform<number, number>('middle', async function* (input) {
        try {
          for await (const value of input) {
            if (value === 2) inTransform?.()
            yield value
          }
        } finally {
          log.push('transform closed')
        }
      })
      const end = sink<number>('end', async input => {
        try {
          for await (const value of input) if (value === 2) inSink?.()
        } finally {
          log.push('sink closed')
        }
      })
      await expect(pipeline(faulty, middle, end)).rejects.toThrow('raised')
      await Promise.all([faulty, middle, end].map(closed))
      expect(log.toSorted()).toEqual(['sink closed', 'source closed', 'transform closed'])
    },
  )

  it('does not mistake an abort for the end of the input', async () => {
    const log: string[] = []
    const abort = new AbortController()
    const trailer = sink<number>('trailer', async input => {
      for await (const value of input) if (value === 10) abort.abort()
      log.push('trailer written')
    })
    await expect(pipeline(numbers(), trailer, { signal: abort.signal })).rejects.toThrow('abort')
    await closed(trailer)
    expect(log).toEqual([])
  })

  it('throttles a fast source while the sink works on an item', async () => {
    let made = 0
    let release = (): void => {}
    const counted = source<number>('counted', async function* () {
      for (; made < 100; ) yield made++
    })
    const slow = sink<number>('slow', async input => {
      for await (const _ of input) {
        await new Promise<void>(resolve => {
          release = resolve
          setImmediate(() => setImmediate(resolve))
        })
      }
    })
    const done = pipeline(counted, double(), slow)
    const seen: number[] = []
    slow.on('drain', () => seen.push(made - slow.stats.itemsIn))
    await done
    release()
    expect(seen.length).toBeGreaterThan(50)
    expect(Math.max(...seen)).toBeLessThanOrEqual(5)
  })

  it('serves the event loop between items of a chain that computes without pause', async () => {
    const busy = (name: string) =>
      transform<number, number>(name, async function* (input) {
        for await (const value of input) {
          const until = performance.now() + 25
          while (performance.now() < until);
          yield value
        }
      })
    const delays: number[] = []
    let last = performance.now()
    const timer = setInterval(() => {
      delays.push(performance.now() - last)
      last = performance.now()
    }, 1)
    await pipeline(numbers(0, 8), busy('a'), busy('b'), busy('c'), busy('d'), collect([]))
    clearInterval(timer)
    expect(delays.length).toBeGreaterThan(8)
  })

  it('works between plain Node streams', async () => {
    const got: number[] = []
    const foreign = new Writable({
      objectMode: true,
      write(value, _encoding, done) {
        got.push(value)
        done()
      },
    })
    await pipeline(Readable.from([1, 2, 3]), double(), foreign)
    expect(got).toEqual([2, 4, 6])
  })
})

function raise(): never {
  throw new Error('raised')
}

function closed(stream: Readable | Writable): Promise<void> {
  return new Promise(resolve => {
    if (stream.closed) resolve()
    else stream.once('close', () => resolve())
  })
}
