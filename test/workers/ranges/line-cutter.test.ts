import { describe, expect, it } from 'vitest'
import { LineCutter } from '#src/workers/ranges/line-cutter'

const TEXT = Buffer.from(`first\n\n${'x'.repeat(30)}\nends at the limit....\n${'y'.repeat(90)}\nfourth\r\nlast`)

/** Lines as they are found, `!` for the head of an overlong one, and the offset in the text after each range. */
function cut(text: Uint8Array, chunkBytes: number, isInLine = false): { lines: string; ends: number[] } {
  const cutter = new LineCutter(16, 21, isInLine, size => new SharedArrayBuffer(size + 3))
  const chunks: Uint8Array[] = []
  for (let start = 0; start < text.length; start += chunkBytes) chunks.push(text.subarray(start, start + chunkBytes))
  let lines = ''
  let end = 0
  const ends: number[] = []
  for (const range of [...chunks.flatMap(chunk => [...cutter.push(chunk)]), ...cutter.finish()]) {
    const bytes = Buffer.from(range.memory)
    lines += bytes.subarray(0, range.byteLength).toString()
    if (range.overlongBytes > 0) lines += `!${String.fromCharCode(bytes[range.byteLength]!)}\n`
    end += range.skippedBytes + range.byteLength
    ends.push(end)
  }
  return { lines, ends }
}

describe('LineCutter', () => {
  it.each([1, 2, 3, 7, 1000])('gives complete lines and heads of overlong ones, in chunks of %i bytes', chunkBytes => {
    const { lines, ends } = cut(TEXT, chunkBytes)
    expect(lines).toBe('first\n\n!x\nends at the limit....\n!y\nfourth\r\nlast')
    expect(ends.at(-1)).toBe(TEXT.length)
  })

  it('skips the rest of a line that it begins in', () => {
    const { lines, ends } = cut(TEXT.subarray(2), 7, true)
    expect(lines.startsWith('\n!x\n')).toBe(true)
    expect(ends.at(-1)).toBe(TEXT.length - 2)
  })
})
