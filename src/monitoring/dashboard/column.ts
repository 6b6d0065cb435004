/**
 * A metric of a run as two columns. Memory is bounded: a column that reaches its limit is downsampled to half, keeping minima
 * and maxima.
 */
import { downsample, firstAtLeast } from './downsample.js'

const MAX_POINTS = 1 << 18

/** Steps ascend. */
export class Column {
  steps = new Float64Array(256)
  values = new Float64Array(256)
  count = 0

  get latest(): number | undefined {
    return this.count === 0 ? undefined : this.values[this.count - 1]
  }

  /** A step that is not after the last one drops all later points: the run resumed from a checkpoint. */
  add(step: number, value: number): void {
    if (this.count > 0 && step <= this.steps[this.count - 1]!) this.count = firstAtLeast(this.steps, this.count, step)
    if (this.count === this.steps.length) this.makeRoom()
    this.steps[this.count] = step
    this.values[this.count++] = value
  }

  dropAfter(step: number): void {
    this.count = firstAtLeast(this.steps, this.count, step + 1)
  }

  private makeRoom(): void {
    if (this.count >= MAX_POINTS) {
      const kept = downsample(this, 0, this.count, MAX_POINTS / 2)
      this.steps.set(kept.steps)
      this.values.set(kept.values)
      this.count = kept.steps.length
      return
    }
    const grown = (column: Float64Array): Float64Array<ArrayBuffer> => {
      const longer = new Float64Array(column.length * 2)
      longer.set(column)
      return longer
    }
    this.steps = grown(this.steps)
    this.values = grown(this.values)
  }
}

/**
 * Linear interpolation of `ys` at `x`, between ascending `xs`; from 0 at x = 0 before the first point, and constant after
 * the last one.
 */
export function interpolate(xs: ArrayLike<number>, ys: ArrayLike<number>, count: number, x: number): number {
  const next = firstAtLeast(xs, count, x)
  if (next === count) return count === 0 ? 0 : ys[count - 1]!
  const [x0, y0] = next === 0 ? [Math.min(0, x), 0] : [xs[next - 1]!, ys[next - 1]!]
  const span = xs[next]! - x0
  return span === 0 ? ys[next]! : y0 + ((ys[next]! - y0) * (x - x0)) / span
}
