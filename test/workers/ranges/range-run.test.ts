import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { RangeRun } from '#src/workers/ranges/range-run'
import { temporaryFolder } from '../../stages/support.js'

const path = join(temporaryFolder(), 'lines.jsonl')
const never = new AbortController().signal
const later = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

it('starts no range before roomFor allows it, and returns all ranges in order', async () => {
  writeFileSync(path, '{"text":"a line"}\n'.repeat(1_000_000))
  const run = await RangeRun.start({ paths: [path], maxLineBytes: 8 << 20, workers: 1, index: true })
  const asked: number[] = []
  let makeRoom = (): void => {}
  const room = new Promise<void>(resolve => {
    makeRoom = resolve
  })
  const limit = 15_000_000
  const ends: number[] = []
  let lines = 0
  const taking = (async () => {
    const roomFor = (end: number): Promise<void> | undefined => {
      asked.push(end)
      return end > limit ? room : undefined
    }
    for await (const { range, reply, release } of run.take({ file: 0, byteOffset: 0 }, never, roomFor)) {
      ends.push(range.end)
      lines += reply.lineCount
      release()
    }
  })()
  await later(1500)
  expect(asked.some(end => end > limit)).toBe(true)
  expect(ends.every(end => end <= limit)).toBe(true)
  const before = ends.length
  expect(before).toBeGreaterThan(0)
  makeRoom()
  await taking
  await run.close()
  expect(ends).toEqual(ends.toSorted((a, b) => a - b))
  expect(ends.length).toBeGreaterThan(before)
  expect([ends.at(-1), lines]).toEqual([18_000_000, 1_000_000])
})
