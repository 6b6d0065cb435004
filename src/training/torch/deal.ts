/**
 * Deals the rows of a step to ranks. A step has the same rows however many ranks there are: rank r of n takes rows r,
 * r + n, ... of it, as the reference system's sampler does, and every rank gets the same shapes, because ranks must make
 * the same number of passes. A row that is missing for that is filled with one that counts for nothing.
 */
import { ignoredTarget, type TrainingBatch } from '../engine.js'

/** What one rank works on: inputs, then targets of each micro batch, one after the other, row-major. */
export interface Share {
  /** [rows, columns] of each micro batch. */
  readonly shapes: readonly (readonly [number, number])[]
  readonly numbers: Int32Array
  /** Of the rows of each micro batch, where they have weights. */
  readonly weights: readonly (readonly number[])[] | undefined
}

/** Rows of one rank, in micro batches no larger than the ones given. */
export function dealRows(batches: readonly TrainingBatch[], rank: number, worldSize: number): Share {
  const totalRows = batches.reduce((sum, batch) => sum + batch.rows, 0)
  const largest = batches.reduce((rows, batch) => Math.max(rows, batch.rows), 1)
  const columns = batches[0]?.columns ?? 0
  const rows = Math.max(1, Math.ceil(totalRows / worldSize))
  const shapes: [number, number][] = []
  for (let done = 0; done < rows; done += largest) {
    shapes.push([Math.min(largest, rows - done), columns])
  }
  const numbers = new Int32Array(2 * rows * columns)
  const weights: number[][] = []
  const rowAt = rowReader(batches)
  let [place, row] = [0, rank]
  for (const [microRows] of shapes) {
    const targetsAt = place + microRows * columns
    const microWeights: number[] = []
    weights.push(microWeights)
    for (let index = 0; index < microRows; index++, row += worldSize) {
      const found = rowAt(row)
      microWeights.push(found?.weight ?? 0)
      if (found === undefined) {
        numbers.fill(ignoredTarget, targetsAt + index * columns, targetsAt + (index + 1) * columns)
      } else {
        numbers.set(found.inputs, place + index * columns)
        numbers.set(found.targets, targetsAt + index * columns)
      }
    }
    place = targetsAt + microRows * columns
  }
  const isWeighted = batches.some(batch => batch.weights !== undefined)
  return { shapes, numbers, weights: isWeighted ? weights : undefined }
}

/** Reads row i of all batches together; rows must be asked for in growing order. */
function rowReader(batches: readonly TrainingBatch[]) {
  let [number, firstRow] = [0, 0]
  return (row: number) => {
    while (number < batches.length && row >= firstRow + batches[number]!.rows) {
      firstRow += batches[number]!.rows
      number++
    }
    const batch = batches[number]
    if (batch === undefined) {
      return undefined
    }
    const start = (row - firstRow) * batch.columns
    const end = start + batch.columns
    return {
      inputs: batch.inputs.subarray(start, end),
      targets: batch.targets.subarray(start, end),
      weight: batch.weights?.[row - firstRow],
    }
  }
}
