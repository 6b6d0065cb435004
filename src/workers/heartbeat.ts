/**
 * What a worker shows of its work while it is at it: which piece (line, document) it has begun, and how large that is.
 * It lies in shared memory, so that the main thread knows what a dead worker died of, and how long a silent one may take.
 *
 * Layout: i32 count, one for each piece begun | i32 piece | i32 bytes
 */

/** Stands for all pieces of a task together, and for getting ready. */
export const WHOLE_TASK = -1

const [COUNT, PIECE, BYTES] = [0, 1, 2] as const

export class Heartbeat {
  readonly memory: SharedArrayBuffer
  private readonly fields: Int32Array

  constructor(memory = new SharedArrayBuffer(12)) {
    this.memory = memory
    this.fields = new Int32Array(memory)
  }

  /** In the worker, before it begins with a piece. */
  begin(piece: number, byteLength: number): void {
    Atomics.store(this.fields, PIECE, piece)
    Atomics.store(this.fields, BYTES, byteLength)
    Atomics.add(this.fields, COUNT, 1)
  }

  /** How often something was begun: a number that stands still may be a worker that does. 0 before the task arrived. */
  get count(): number {
    return Atomics.load(this.fields, COUNT)
  }

  get piece(): number {
    return this.count === 0 ? WHOLE_TASK : Atomics.load(this.fields, PIECE)
  }

  get byteLength(): number {
    return Atomics.load(this.fields, BYTES)
  }
}
