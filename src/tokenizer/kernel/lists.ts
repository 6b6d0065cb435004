/** Reads a model's vocabulary and merges with the kernel: the tables of model-lists.ts, several times as fast. */
import type { Merges } from '../engine/bpe.js'
import { bytesOfUnits, type PackedVocabulary } from '../engine/byte-level.js'
import { slotBitsFor, UnitVocabulary } from '../engine/vocabulary.js'
import { type KernelSource, startKernel } from './kernel-engine.js'
import { growTo, type KernelExports, Layout } from './memory.js'
import type { ModelLists } from './model-lists.js'
import { notPlain } from './plain-json.js'

/** Zero bytes after the text, where the kernel stops. */
const SLACK = 64
/** Lengths of the shortest vocabulary entry, `"":0,`, and the shortest merge, `"",`. */
const SHORTEST_TOKEN = 5
const SHORTEST_MERGE = 3
/** One bit per pair of bytes. */
const PAIR_BYTES = 8192

/** Owns a separate memory, which is freed with it. */
export class KernelLists implements ModelLists {
  end = 0
  private readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536 })
  private readonly kernel: KernelExports
  private readonly layout: Layout
  private readonly textAt: number
  private readonly textLength: number

  constructor(text: Uint8Array, source: KernelSource) {
    this.kernel = startKernel(source, this.memory)
    this.layout = new Layout(this.kernel.firstUsableAddress())
    this.textLength = text.length
    this.textAt = this.take(text.length + SLACK)
    new Uint8Array(this.memory.buffer).set(text, this.textAt)
  }

  vocabulary(start: number): UnitVocabulary {
    const mostTokens = Math.ceil(this.textLength / SHORTEST_TOKEN) + 2
    // At most as many code units as bytes; the tokens of the merges fit after them.
    const units = this.take(this.textLength * 2 + SLACK)
    const offsets = this.take(mostTokens * 4)
    const ids = this.take(mostTokens * 4)
    const count = this.kernel.readVocabulary(this.textAt + start, units, offsets, ids)
    this.finish(count)
    const slotBits = slotBitsFor(count)
    const hashes = this.take(count * 4)
    const slots = this.take(4 << slotBits)
    if (this.kernel.indexVocabulary(count, hashes, slots, slotBits) === 0) notPlain()
    const allOffsets = this.numbers(offsets, count + 1)
    const allUnits = new Uint16Array(this.memory.buffer, units, allOffsets[count]!).slice()
    const index = { slots: this.numbers(slots, 1 << slotBits), hashes: this.numbers(hashes, count) }
    return new UnitVocabulary(allUnits, allOffsets, this.numbers(ids, count), index)
  }

  /** Looks the tokens up in the vocabulary read before. */
  merges(start: number): Merges {
    const maxEntries = Math.ceil((this.textLength - start) / SHORTEST_MERGE) + 1
    const tables = [this.take(maxEntries * 4), this.take(maxEntries * 4), this.take(maxEntries * 4)] as const
    const count = this.kernel.readMerges(this.textAt + start, ...tables)
    this.finish(count)
    const [left, right, result] = tables.map(table => this.numbers(table, count))
    return { left: left!, right: right!, result: result! }
  }

  words({ size, units }: UnitVocabulary): PackedVocabulary {
    const bytes = bytesOfUnits()
    const bytesAt = this.take(bytes.byteLength)
    const pairs = this.take(PAIR_BYTES)
    const texts = this.take(units.length + SLACK)
    const offsets = this.take(size * 4 + 4)
    const ids = this.take(size * 4)
    new Uint16Array(this.memory.buffer).set(bytes, bytesAt / 2)
    const count = this.kernel.packWords(size, bytesAt, bytes.length, texts, offsets, ids, pairs)
    const wordOffsets = this.numbers(offsets, count + 1)
    return {
      texts: this.bytes(texts, wordOffsets[count]!),
      offsets: wordOffsets,
      ids: this.numbers(ids, count),
      innerPairs: this.bytes(pairs, PAIR_BYTES),
    }
  }

  private numbers(address: number, length: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, address, length).slice()
  }

  private bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, address, length).slice()
  }

  private take(byteLength: number): number {
    const address = this.layout.take(byteLength)
    growTo(this.memory, this.layout.end)
    return address
  }

  private finish(count: number): void {
    if (count < 0) notPlain()
    this.end = (this.kernel.listEnd.value as number) - this.textAt
  }
}
