/**
 * Slot of shared memory that carries a batch to a worker and its tokens back; only the slot's description is sent as a
 * message. Slots are reused; there are as many as batches in flight.
 *
 * Layout: (documents + 1) u32 offsets | text | padding to 4 | room for tokens, u32
 * The reply overwrites the offsets with the number of tokens of each document.
 */
import type { DocumentBatch } from '../../formats/batches.js'

export interface SharedBatch {
  readonly memory: SharedArrayBuffer
  readonly documents: number
  readonly textBytes: number
}

/** Room for one token per byte and two more per document: the maximum for byte-level vocabularies. */
function bytesFor(documents: number, textBytes: number): number {
  return 4 * (documents + 1) + alignedTo4(textBytes) + 4 * (textBytes + 2 * documents)
}

const alignedTo4 = (bytes: number): number => (bytes + 3) & ~3
const GROWTH = 1.25

/** Pool of slot memory. */
export class SharedBatchPool {
  private readonly free: SharedArrayBuffer[] = []

  /** Copies a batch into a slot. */
  fill(batch: DocumentBatch): SharedBatch {
    const documents = batch.offsets.length - 1
    const textBytes = batch.offsets[documents]!
    const needed = bytesFor(documents, textBytes)
    const kept = this.free.pop()
    const memory =
      kept !== undefined && kept.byteLength >= needed ? kept : new SharedArrayBuffer(Math.ceil(needed * GROWTH) & ~3)
    new Uint32Array(memory, 0, documents + 1).set(batch.offsets)
    new Uint8Array(memory, 4 * (documents + 1), textBytes).set(batch.bytes.subarray(0, textBytes))
    return { memory, documents, textBytes }
  }

  release(slot: SharedBatch): void {
    this.free.push(slot.memory)
  }
}

/** The documents of a slot, as views of the shared memory. */
export function documentsIn(slot: SharedBatch): { bytes: Uint8Array; offsets: Uint32Array } {
  return {
    bytes: new Uint8Array(slot.memory, 4 * (slot.documents + 1), slot.textBytes),
    offsets: new Uint32Array(slot.memory, 0, slot.documents + 1),
  }
}

/** The part of the slot that receives the number of tokens of each document. */
export function lengthsIn(slot: SharedBatch): Uint32Array {
  return new Uint32Array(slot.memory, 0, slot.documents)
}

/** The part of the slot that receives the tokens. */
export function tokensIn(slot: SharedBatch): Uint32Array {
  return new Uint32Array(slot.memory, 4 * (slot.documents + 1) + alignedTo4(slot.textBytes))
}
