/**
 * Memory that a worker reuses from range to range: fresh memory costs a page fault per 4 KiB, more than copying the bytes.
 * A larger request than `KEPT_BYTES` gets memory of its own, which is not kept.
 */
import { releaseMemory } from '../release-memory.js'

const KEPT_BYTES = 16 << 20

export class KeptBuffer {
  private memory = new Uint8Array(0)
  private large: Uint8Array | undefined

  /** The bytes have any content, and are valid until the next call. */
  take(byteLength: number): Uint8Array {
    if (this.large !== undefined) releaseMemory([this.large])
    this.large = undefined
    if (byteLength > KEPT_BYTES) {
      this.large = new Uint8Array(byteLength)
      return this.large
    }
    if (byteLength > this.memory.byteLength) {
      releaseMemory([this.memory])
      this.memory = new Uint8Array(Math.min(KEPT_BYTES, Math.max(byteLength, 2 * this.memory.byteLength)))
    }
    return this.memory.subarray(0, byteLength)
  }
}
