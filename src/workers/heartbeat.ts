/**
 * Heartbeat of a worker in shared memory: which record (line or document) it is processing, and how large it is. The
 * main thread reads it to attribute a worker's death to a record, and to decide how long a silent worker may take.
 *
 * Layout: i32 count of records begun | i32 record | i32 bytes
 */

/** Record number for a whole task and for a worker's start-up. */
export const WHOLE_TASK = -1

const [COUNT, RECORD, BYTES] = [0, 1, 2] as const

export class Heartbeat {
  readonly memory: SharedArrayBuffer
  private readonly fields: Int32Array

  constructor(memory = new SharedArrayBuffer(12)) {
    this.memory = memory
    this.fields = new Int32Array(memory)
  }

  /** Called in the worker before it begins a record. */
  begin(record: number, byteLength: number): void {
    Atomics.store(this.fields, RECORD, record)
    Atomics.store(this.fields, BYTES, byteLength)
    Atomics.add(this.fields, COUNT, 1)
  }

  /**
   * Number of records begun; 0 before the worker has received the task. A count that stays the same may mean a hung
   * worker.
   */
  get count(): number {
    return Atomics.load(this.fields, COUNT)
  }

  get record(): number {
    return this.count === 0 ? WHOLE_TASK : Atomics.load(this.fields, RECORD)
  }

  get byteLength(): number {
    return Atomics.load(this.fields, BYTES)
  }
}
