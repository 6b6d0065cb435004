import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createLineKernel } from '#src/tokenizer/kernel/scan-lines'
import { loadRange } from '#src/workers/ranges/load-range'
import type { FileRange } from '#src/workers/ranges/range-task'
import { scanRangeFast } from '#src/workers/ranges/scan-range'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { randomFrom } from '../../formats/random-records.js'
import { temporaryFolder } from '../../stages/support.js'

const path = join(temporaryFolder(), 'lines.jsonl')
const kernel = createLineKernel({ wasm: kernelModule() })
const PAGE = 4096

/** Writes the bytes to a file and calls `visit` with each of its ranges. */
function eachRange(bytes: Uint8Array, rangeBytes: number, visit: (range: FileRange) => void): void {
  writeFileSync(path, bytes)
  const descriptor = openSync(path, 'r')
  const common = { kind: 'file' as const, descriptor, file: path, fileBytes: bytes.length, maxLineBytes: 1 << 26 }
  for (let start = 0; start < bytes.length; start += rangeBytes) {
    visit({ ...common, start, end: Math.min(bytes.length, start + rangeBytes) })
  }
  closeSync(descriptor)
}

/** Reference: the lines of the range when loaded whole, or undefined when one is faulty. */
function wholeRange(range: FileRange): object | undefined {
  const { bytes, origin, first, stop } = loadRange(kernel, range)
  const { lineStarts, lineEnds, statuses } = kernel.scan(bytes, first, stop)
  if (statuses.some(status => status !== 0)) return undefined
  return { origin, starts: [...lineStarts], ends: [...lineEnds], byteLength: stop - first }
}

function fastScan(range: FileRange, maxLines = 100_000): object | undefined {
  const [starts, ends] = [new Uint32Array(maxLines), new Uint32Array(maxLines)]
  const checked = scanRangeFast(kernel, range, starts, ends)
  if (checked === undefined) return undefined
  const { origin, byteLength, lineCount } = checked
  return { origin, starts: [...starts.subarray(0, lineCount)], ends: [...ends.subarray(0, lineCount)], byteLength }
}

const line = (length: number): string => JSON.stringify('x'.repeat(length))
const textOf = (lengths: readonly number[], ending: string): Uint8Array =>
  Buffer.from(lengths.map(line).join('\n') + ending)

describe('scanRangeFast', () => {
  it('finds the same lines as loading the whole range, wherever lines end', () => {
    const random = randomFrom(3)
    let scanned = 0
    let refused = 0
    for (let round = 0; round < 40; round++) {
      const longest = [30, 5000, 60_000, 300_000][round % 4]!
      const lengths: number[] = []
      for (let bytes = 0; bytes < 1_500_000 + random(1_500_000); bytes += lengths.at(-1)!)
        lengths.push(10 + random(longest))
      const rangeBytes = PAGE * (64 + random(400))
      eachRange(textOf(lengths, ['', '\n'][random(2)]!), rangeBytes, range => {
        const found = fastScan(range)
        if (found === undefined) refused++
        else scanned++
        if (found !== undefined) expect(found).toEqual(wholeRange(range))
        // Only ranges with long lines may be refused.
        else if (longest <= 60_000) expect.fail(`the range at ${range.start} was refused`)
      })
    }
    expect(scanned).toBeGreaterThan(50)
    expect(refused).toBeGreaterThan(0)
  })

  it('handles ranges that end at a chunk boundary or at the end of the file', () => {
    for (const length of [PAGE * 127, PAGE * 128, PAGE * 129, PAGE * 256]) {
      for (const more of [-1, 0, 1]) {
        const lengths = Array.from({ length: length / 1024 }, (_, index) => (index === 0 ? 1021 + more : 1021))
        eachRange(textOf(lengths, '\n'), length, range => {
          const whole = wholeRange(range) as { byteLength: number }
          // No line may start in the last range.
          if (whole.byteLength > 0) expect(fastScan(range)).toEqual(whole)
        })
      }
    }
  })

  it('refuses a range with faulty, non-UTF-8, blank or too many lines', () => {
    const good = textOf(Array(3000).fill(400), '\n')
    const changed = (at: number, byte: number): Uint8Array => {
      const bytes = Uint8Array.from(good)
      bytes[at] = byte
      return bytes
    }
    const middle = good.indexOf(0x0a, 700_000)
    for (const bytes of [changed(middle - 1, 0x20), changed(middle - 9, 0xff), changed(middle + 1, 0x0a)]) {
      eachRange(bytes, PAGE * 1024, range => expect(fastScan(range)).toBeUndefined())
    }
    eachRange(good, PAGE * 1024, range => {
      expect(fastScan(range, 3000)).toEqual(wholeRange(range))
      expect(fastScan(range, 2999)).toBeUndefined()
    })
  })
})
