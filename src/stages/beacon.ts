/**
 * What a worker shows of its work while it is at it: which piece (line, document) it has begun, and how large that is.
 * It lies in shared memory, so that the main thread knows what a dead worker died of, and how long a silent one may take.
 *
 * Layout: i32 beats, one for each piece begun | i32 piece | i32 bytes
 */

/** Stands for all pieces of a task together, and for getting ready. */
export const WHOLE = -1

const [BEATS, PIECE, BYTES] = [0, 1, 2] as const

export class Beacon {
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
    Atomics.add(this.fields, BEATS, 1)
  }

  /** How often something was begun: a number that stands still may be a worker that does. 0 before the task arrived. */
  get beats(): number {
    return Atomics.load(this.fields, BEATS)
  }

  get piece(): number {
    return this.beats === 0 ? WHOLE : Atomics.load(this.fields, PIECE)
  }

  get byteLength(): number {
    return Atomics.load(this.fields, BYTES)
  }
}
