/**
 * Distributes the rows of a step to the ranks. The rows of a step do not depend on the number of ranks: rank r of n gets
 * rows r, r + n, ..., as in Modalities' sampler. Every rank gets the same shapes, because all must make the same number of
 * passes; missing rows are padded with rows whose targets are ignored. A tensor-parallel group counts as one rank here,
 * because its ranks compute the same rows.
 */
import { ignoredTarget, type TrainingBatch } from '../engine.js'

/** Data of one rank: inputs, targets and any document starts of each micro batch, concatenated, row-major. */
export interface Share {
  /** [rows, columns] of each micro batch. */
  readonly shapes: readonly (readonly [number, number])[]
  readonly numbers: Int32Array
  /** Row weights of each micro batch, if any. */
  readonly weights?: readonly (readonly number[])[]
  /** Whether positions restart in each document; absent without document starts. */
  readonly restartPositions?: boolean
}

/** Rows of one rank, in micro batches no larger than the given ones. */
export function dealRows(batches: readonly TrainingBatch[], rank: number, worldSize: number): Share {
  const totalRows = batches.reduce((sum, batch) => sum + batch.rows, 0)
  const largest = batches.reduce((rows, batch) => Math.max(rows, batch.rows), 1)
  const columns = batches[0]?.columns ?? 0
  const rows = Math.max(1, Math.ceil(totalRows / worldSize))
  const shapes: [number, number][] = []
  for (let done = 0; done < rows; done += largest) {
    shapes.push([Math.min(largest, rows - done), columns])
  }
  const restartPositions = batches.find(({ documents }) => documents !== undefined)?.documents?.restartPositions
  const arrays = restartPositions === undefined ? 2 : 3
  const numbers = new Int32Array(arrays * rows * columns)
  const weights: number[][] = []
  const rowAt = rowReader(batches)
  let [place, row] = [0, rank]
  for (const [microRows] of shapes) {
    const targetsAt = place + microRows * columns
    const startsAt = targetsAt + microRows * columns
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
        if (found.starts !== undefined) numbers.set(found.starts, startsAt + index * columns)
      }
    }
    place += arrays * microRows * columns
  }
  const isWeighted = batches.some(batch => batch.weights !== undefined)
  return {
    shapes,
    numbers,
    ...(isWeighted && { weights }),
    ...(restartPositions !== undefined && { restartPositions }),
  }
}

/** Reads row i of the concatenated batches; i must increase from call to call. */
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
      starts: batch.documents?.starts.subarray(start, end),
      weight: batch.weights?.[row - firstRow],
    }
  }
}
