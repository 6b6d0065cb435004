import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { LineBatch, LineCursor } from '#src/formats/batches'
import { LineSplitter } from '#src/formats/jsonl'

/** Lines as [number, offset, text]; overlong lines have no text. */
type Found = readonly [number, number, string?]

function take(splitter: LineSplitter, batches: Iterable<LineBatch>, into: Found[]): void {
  for (const batch of batches) {
    for (const [index, start] of batch.starts.entries()) {
      const text = Buffer.from(batch.bytes.subarray(start, batch.ends[index])).toString()
      into.push([batch.firstLine + batch.lines[index]!, batch.byteOffset + start, text])
    }
  }
  for (const { line, byteOffset } of splitter.takeLongLines()) into.push([line, byteOffset])
}

test('splitting resumes from any cursor, including inside an overlong line', () => {
  const text = fc.array(fc.constantFrom('a', 'bc', '\n', '\n', '\r\n', 'long'.repeat(6)), { maxLength: 40 })
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 9 }), fc.nat(20), (parts, size, stop) => {
      const bytes = Buffer.from(parts.join(''))
      const options = { source: '-', maxLineBytes: 8 }
      const whole: Found[] = []
      const apart: Found[] = []
      let from: LineCursor | undefined
      const splitter = new LineSplitter(options)
      let batches = 0
      for (let chunk = 0; chunk * size < bytes.length; chunk++) {
        for (const batch of splitter.push(bytes.subarray(chunk * size, (chunk + 1) * size))) {
          take(splitter, [batch], whole)
          if (batches++ >= stop) continue
          from = splitter.cursor
          apart.splice(0, apart.length, ...whole)
        }
        take(splitter, [], whole)
        if (batches > stop) continue
        from = splitter.cursor
        apart.splice(0, apart.length, ...whole)
      }
      take(splitter, splitter.finish(), whole)

      const second = new LineSplitter({ ...options, from })
      take(second, second.push(bytes.subarray(from?.byteOffset ?? 0)), apart)
      take(second, second.finish(), apart)
      const inOrder = (found: Found[]): Found[] => found.toSorted((a, b) => a[0] - b[0])
      expect(inOrder(apart)).toEqual(inOrder(whole))
    }),
  )
})
