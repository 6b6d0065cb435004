/** Unigram in WebAssembly: the paths of the segmenter in engine/unigram-model.ts. */
import type { Segmenter, SegmenterPlan } from '../engine/unigram-model.js'
import { type KernelSource, startKernel } from './kernel-engine.js'
import { growTo, type KernelExports, Layout } from './memory.js'

/** Bytes per position of a text, and per piece of a path. */
const [POSITION_BYTES, PIECE_BYTES] = [16, 8]

export class KernelSegmenter implements Segmenter {
  bytes = new Uint8Array(0)
  path = new Uint32Array(0)
  private readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536 })
  private readonly kernel: KernelExports
  private readonly tablesEnd: number
  private positionsAt = 0
  private pathAt = 0

  constructor(source: KernelSource, { trie, scores, unknownId, unknownScore }: SegmenterPlan) {
    this.kernel = startKernel(source, this.memory)
    const layout = new Layout(this.kernel.firstUsableAddress())
    const slots = layout.take(trie.slots.byteLength)
    const ends = layout.take(trie.ends.byteLength)
    const scoresAt = layout.take(scores.byteLength)
    this.tablesEnd = layout.end
    growTo(this.memory, layout.end)
    const { buffer } = this.memory
    new Uint32Array(buffer).set(trie.slots, slots / 4)
    new Uint32Array(buffer).set(trie.ends, ends / 4)
    new Float64Array(buffer).set(scores, scoresAt / 8)
    this.kernel.setUnigram(slots, trie.shift, ends, scoresAt, unknownId, unknownScore)
    this.reserve(1)
  }

  reserve(byteLength: number): void {
    if (this.bytes.length >= byteLength) return
    const length = Math.max(1 << 12, byteLength * 2)
    const layout = new Layout(this.tablesEnd)
    const bytesAt = layout.take(length)
    this.positionsAt = layout.take((length + 1) * POSITION_BYTES)
    this.pathAt = layout.take(length * PIECE_BYTES)
    growTo(this.memory, layout.end)
    this.bytes = new Uint8Array(this.memory.buffer, bytesAt, length)
    this.path = new Uint32Array(this.memory.buffer, this.pathAt, 2 * length)
  }

  segment(length: number): number {
    return this.kernel.segment(this.bytes.byteOffset, length, this.positionsAt, this.pathAt)
  }
}
