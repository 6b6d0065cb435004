import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ignoredTarget, type TrainingBatch } from '#src/training/engine'
import { dealRows } from '#src/training/torch/deal'

/** Batches whose row i holds i in every input and i + 1 in every target. */
function numbered(rowCounts: readonly number[], columns: number): TrainingBatch[] {
  let first = 0
  return rowCounts.map(rows => {
    const inputs = Int32Array.from({ length: rows * columns }, (_, at) => first + Math.floor(at / columns))
    first += rows
    return { inputs, targets: inputs.map(value => value + 1), rows, columns }
  })
}

/** The rows of a rank, in its order, without padding. */
function rowsOf({ shapes, numbers }: ReturnType<typeof dealRows>): number[] {
  const found: number[] = []
  let at = 0
  for (const [rows, columns] of shapes) {
    for (let row = 0; row < rows; row++) {
      const input = numbers.subarray(at + row * columns, at + (row + 1) * columns)
      const target = numbers.subarray(at + (rows + row) * columns, at + (rows + row + 1) * columns)
      if (target.every(value => value === ignoredTarget)) continue
      expect([...target]).toEqual([...input].map(value => value + 1))
      found.push(input[0]!)
    }
    at += 2 * rows * columns
  }
  expect(at).toBe(numbers.length)
  return found
}

test('rows are distributed round-robin, and all ranks get the same shapes', () => {
  const rowCounts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(
      rowCounts,
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 5 }),
      (counts, worldSize, columns) => {
        const batches = numbered(counts, columns)
        const total = counts.reduce((sum, rows) => sum + rows, 0)
        const shares = Array.from({ length: worldSize }, (_, rank) => dealRows(batches, rank, worldSize))
        for (const [rank, share] of shares.entries()) {
          expect(share.shapes).toEqual(shares[0]!.shapes)
          expect(Math.max(...share.shapes.map(([rows]) => rows))).toBeLessThanOrEqual(Math.max(...counts))
          const expected = Array.from({ length: total }, (_, row) => row).filter(row => row % worldSize === rank)
          expect(rowsOf(share)).toEqual(expected)
        }
      },
    ),
  )
})
