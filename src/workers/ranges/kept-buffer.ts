/**
 * Memory that a worker reuses from range to range: fresh memory costs a page fault per 4 KiB, more than copying the bytes.
 * Its content is valid until it is cleared.
 */
import { releaseMemory } from '../../files/release-memory.js'

/** A larger buffer is not kept. */
const KEPT_BYTES = 16 << 20

export class KeptBuffer {
  length = 0
  private memory = new Uint8Array(0)

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.memory.subarray(0, this.length)
  }

  clear(): void {
    this.length = 0
    if (this.memory.byteLength <= KEPT_BYTES) return
    releaseMemory([this.memory])
    this.memory = new Uint8Array(0)
  }

  append(chunk: Uint8Array): void {
    this.reserve(chunk.byteLength).set(chunk)
  }

  /** Appends bytes of any content, to be written by the caller before the next call. */
  reserve(byteLength: number): Uint8Array {
    const start = this.length
    const end = start + byteLength
    if (end > this.memory.byteLength) {
      // Only memory that is appended to grows by more than it needs.
      const larger = new Uint8Array(start === 0 ? end : Math.max(end, 2 * this.memory.byteLength))
      larger.set(this.bytes)
      releaseMemory([this.memory])
      this.memory = larger
    }
    this.length = end
    return this.memory.subarray(start, end)
  }
}
