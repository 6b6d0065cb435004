/**
 * Allocates and fills the kernel's tables in its linear memory. The order of the addresses is that of `setTables` in
 * assembly/text/memory.ts.
 */
import { PenstockError } from '../../errors.js'
import type { EnginePlan } from '../engine/engine.js'
import { plainFlags } from '../patterns/ascii-pattern.js'
import type { ChunkRules } from '../patterns/chunks.js'
import { compilePattern, type Dfa } from '../patterns/dfa.js'
import { GPT2_PATTERN, gpt2Classes } from '../patterns/pretokenize.js'
import { CODE_POINT_LIMIT } from '../patterns/unicode.js'

/** Exports of the module; addresses and lengths are in bytes. */
export interface KernelExports {
  readonly firstUsableAddress: () => number
  readonly setTables: (...addresses: number[]) => void
  readonly setFree: (address: number) => void
  readonly setMerges: (left: number, right: number, result: number, count: number) => void
  readonly setWholeWords: (
    texts: number,
    offsets: number,
    ids: number,
    count: number,
    table: number,
    slotBits: number,
  ) => void
  readonly clearWords: () => void
  /** log2 of the current number of lines of the cache of short words. */
  readonly wordBits: () => number
  readonly configure: (howToSplit: number, isWide: number) => void
  readonly encode: (start: number, end: number, out: number) => number
  readonly encodeDocument: (start: number, end: number, out: number) => number
  readonly needsHost: (start: number, end: number) => number
  readonly mayHaveToken: (start: number, end: number) => number
  readonly leaveWordsToHost: () => void
  readonly setLineTables: (origin: number, starts: number, ends: number, statuses: number, lengths: number) => void
  readonly scanLines: (start: number, end: number, line: number, capacity: number) => number
  readonly packLines: (
    start: number,
    end: number,
    line: number,
    capacity: number,
    pathLength: number,
    text: number,
    out: number,
    endOfDocument: number,
  ) => number
  readonly resumeAt: WebAssembly.Global
  readonly tokensEnd: WebAssembly.Global
  readonly hostText: WebAssembly.Global
  readonly setHostRules: (seesAll: number, firstByte: number, hasTokens: number, leads: number, areFew: number) => void
  readonly setTemplate: (before: number, after: number) => void
  readonly readVocabulary: (start: number, units: number, offsets: number, ids: number) => number
  readonly indexVocabulary: (count: number, hashes: number, slots: number, slotBits: number) => number
  readonly readMerges: (start: number, left: number, right: number, result: number) => number
  readonly packWords: (
    tokens: number,
    bytesOfUnits: number,
    unitCount: number,
    texts: number,
    offsets: number,
    ids: number,
    innerPairs: number,
  ) => number
  readonly listEnd: WebAssembly.Global
  readonly setUnigram: (
    slots: number,
    shift: number,
    ends: number,
    scores: number,
    unknownId: number,
    unknownScore: number,
  ) => void
  readonly segment: (text: number, length: number, positions: number, path: number) => number
}

/** Words per group in the kernel, plus the 64 that one step may add. */
const WORDS_AT_ONCE = 256 + 64 + 8
/** log2 of the number of slots for long words. */
const LONG_WORD_BITS = 18
/** Long words with their tokens, and tokens that do not fit into an entry. */
const ARENA_BYTES = 1 << 24
const DEPTH_LIMIT = 65_536
/** Range of 32-bit addresses. */
const MEMORY_LIMIT = 2 ** 32
/** Room for the field's path: 16 bytes per part, and its keys. */
export const PATH_BYTES = 1 << 16
export const LINES_AT_ONCE = 4096
/** Template tokens, no more than fit for the shortest record: the token buffer has one slot per byte. */
export const TEMPLATE_LIMIT = 4
const SPLIT_WHOLE = 0
const SPLIT_GPT2 = 1
const SPLIT_PATTERN = 2
const SPLIT_CHUNKS = 3

export interface KernelTables {
  /** First address after the tables. */
  readonly end: number
  readonly path: number
  /** Tables of up to LINES_AT_ONCE lines: starts, ends and token counts u32, statuses u8. */
  readonly lineStarts: number
  readonly lineEnds: number
  readonly lineLengths: number
  readonly lineStatuses: number
  readonly tokenPairs: number
  readonly template: number
  readonly changing: number
  readonly howToSplit: number
}

/** Bump allocator of addresses. */
export class Layout {
  end: number

  constructor(start: number) {
    this.end = start
  }

  /** Aligned to a cache line, or to a page of 4096. */
  take(byteLength: number, alignment: 64 | 4096 = 64): number {
    const address = Math.ceil(this.end / alignment) * alignment
    this.end = address + byteLength
    return address
  }
}

/** Grows the memory up to `end` if needed. @throws UNSUPPORTED beyond 4 GiB */
export function growTo(memory: WebAssembly.Memory, end: number): void {
  if (end > MEMORY_LIMIT)
    throw new PenstockError('UNSUPPORTED', `${end} bytes exceed the 4 GiB that the kernel can address`)
  const missing = Math.ceil((end - memory.buffer.byteLength) / 0x10000)
  if (missing > 0) memory.grow(missing)
}

/** log2 of the number of 64-byte lines of the cache of short words, at least 6 to encode: at the start, and at most. */
export interface WordCacheSize {
  readonly bits: number
  readonly mostBits: number
}

/** Starts with 16 MB, for the words of running text; grows until the cache takes `cacheBytes`, or 300 MB. */
export function wordCacheSize(cacheBytes: number): WordCacheSize {
  const [bits, limit] = [18, 22]
  const tableBytes = cacheBytes - ARENA_BYTES - (16 << LONG_WORD_BITS) - (32 << bits)
  return { bits, mostBits: Math.min(limit, Math.max(bits, Math.floor(Math.log2(Math.max(1, tableBytes) / 64)))) }
}

/** Fills the tables for `plan`, or for `chunks` that the host encodes. */
export function fillTables(
  memory: WebAssembly.Memory,
  kernel: KernelExports,
  plan: EnginePlan,
  { bits: wordBits, mostBits }: WordCacheSize,
  chunks?: ChunkRules,
): KernelTables {
  const layout = new Layout(kernel.firstUsableAddress())
  const { howToSplit, stages } = chunks === undefined ? stagesOf(plan) : { howToSplit: SPLIT_CHUNKS, stages: [] }
  const merges = plan.merges.left.length
  const rankBits = Math.ceil(Math.log2(merges + 2))
  const pairBits = Math.max(10, Math.ceil(Math.log2(merges * 2 + 1)))
  const lengthMasks = layout.take(2 * 17 * 16)
  const byteIds = layout.take(256 * 4)
  const bytePairRanks = layout.take(65_536 * 4)
  const innerPairs = layout.take(8192)
  const mergeList = layout.take(merges * 8)
  const pairs = layout.take(4 << pairBits)
  const words = layout.take(64 * 2 ** mostBits, 4096)
  const mediumBits = wordBits - (chunks === undefined ? 2 : 1)
  const mediumWords = layout.take(64 << mediumBits)
  const nowhere = layout.take(64)
  const longWords = layout.take(16 << LONG_WORD_BITS)
  const arena = layout.take(ARENA_BYTES)
  const starts = layout.take(WORDS_AT_ONCE * 4)
  const keys = layout.take(64 + WORDS_AT_ONCE * 32) + 64
  const symbols = layout.take(2 * 64 * 4 + 64)
  const classes = layout.take(CODE_POINT_LIMIT)
  const stageList = layout.take(stages.length * 16)
  const stageTables = stages.map(dfa => [
    layout.take(CODE_POINT_LIMIT),
    layout.take(dfa.table.byteLength),
    layout.take(dfa.fused.byteLength),
  ])
  const escapes = layout.take(256)
  const containers = layout.take(DEPTH_LIMIT * 8)
  const path = layout.take(PATH_BYTES)
  const tokenPairs = layout.take(8192)
  const template = layout.take(TEMPLATE_LIMIT * 4)
  const changing = layout.take(CODE_POINT_LIMIT / 8)
  const chunkRules = layout.take(512)
  const chunkEnds = layout.take(chunks === undefined ? 0 : CODE_POINT_LIMIT / 4)
  const lineStarts = layout.take(LINES_AT_ONCE * 4)
  const lineEnds = layout.take(LINES_AT_ONCE * 4)
  const lineLengths = layout.take(LINES_AT_ONCE * 4)
  const lineStatuses = layout.take(LINES_AT_ONCE)
  growTo(memory, layout.end)

  const bytes = new Uint8Array(memory.buffer)
  const ints = new Uint32Array(memory.buffer)
  for (let length = 0; length <= 16; length++) {
    if (length < 16) bytes.fill(0xff, lengthMasks + length * 16, lengthMasks + length * 17)
    bytes[lengthMasks + 17 * 16 + length * 16 + 15] = length
  }
  ints.set(plan.symbols.byteIds, byteIds / 4)
  bytes.set(plan.symbols.innerPairs, innerPairs)
  if (howToSplit === SPLIT_GPT2) bytes.set(gpt2Classes(), classes)
  for (const [index, dfa] of stages.entries()) {
    const addresses = stageTables[index]!
    ints.set([...addresses, plainFlags(dfa.source)], stageList / 4 + index * 4)
    bytes.set(dfa.classes, addresses[0])
    new Uint16Array(memory.buffer).set(dfa.table, addresses[1]! / 2)
    new Uint16Array(memory.buffer).set(dfa.fused, addresses[2]! / 2)
  }
  for (const [letter, meaning] of Object.entries({ '"': 34, '\\': 92, '/': 47, b: 8, f: 12, n: 10, r: 13, t: 9 })) {
    bytes[escapes + letter.charCodeAt(0)] = meaning
  }
  kernel.setTables(
    ...[
      lengthMasks,
      byteIds,
      bytePairRanks,
      innerPairs,
      mergeList,
      rankBits,
      pairs,
      pairBits,
      words,
      wordBits,
      mostBits,
      mediumWords,
      mediumBits,
      nowhere,
    ],
    ...[longWords, (1 << LONG_WORD_BITS) - 1, arena, arena + ARENA_BYTES, starts, keys, symbols, classes],
    ...[stageList, stages.length, escapes, containers, path, tokenPairs, template, changing, chunkRules, chunkEnds],
  )
  if (chunks !== undefined) {
    bytes.set(chunks.after, chunkRules)
    bytes.set(chunks.before, chunkRules + 256)
    kernel.leaveWordsToHost()
  }
  kernel.setFree(layout.end)
  setMerges(memory, kernel, plan, layout.end)
  if (plan.ignoresMerges) setWholeWords(memory, kernel, plan, layout)
  kernel.setFree(layout.end)
  return {
    end: layout.end,
    path,
    lineStarts,
    lineEnds,
    lineLengths,
    lineStatuses,
    tokenPairs,
    template,
    changing,
    howToSplit,
  }
}

/** The token lists are only needed during this call and use memory after the tables. */
function setMerges(memory: WebAssembly.Memory, kernel: KernelExports, plan: EnginePlan, free: number): void {
  const { left, right, result } = plan.merges
  const leftAt = (free + 63) & ~63
  const rightAt = leftAt + left.byteLength
  const resultAt = rightAt + left.byteLength
  growTo(memory, resultAt + left.byteLength)
  const ints = new Uint32Array(memory.buffer)
  ints.set(left, leftAt / 4)
  ints.set(right, rightAt / 4)
  ints.set(result, resultAt / 4)
  kernel.setMerges(leftAt, rightAt, resultAt, left.length)
}

/** Words that are one token regardless of the merges. */
function setWholeWords(memory: WebAssembly.Memory, kernel: KernelExports, plan: EnginePlan, layout: Layout): void {
  const { texts, offsets, ids } = plan.words
  const slotBits = Math.ceil(Math.log2(ids.length * 2 + 1))
  const table = layout.take(4 << slotBits)
  const textsAt = layout.take(texts.length + 64)
  const offsetsAt = layout.take(offsets.byteLength)
  const idsAt = layout.take(ids.byteLength)
  growTo(memory, layout.end)
  kernel.setFree(layout.end)
  const ints = new Uint32Array(memory.buffer)
  new Uint8Array(memory.buffer).set(texts, textsAt)
  ints.set(offsets, offsetsAt / 4)
  ints.set(ids, idsAt / 4)
  kernel.setWholeWords(textsAt, offsetsAt, idsAt, ids.length, table, slotBits)
}

function stagesOf(plan: EnginePlan): { howToSplit: number; stages: readonly Dfa[] } {
  const [first] = plan.rules
  if (first === undefined) return { howToSplit: SPLIT_WHOLE, stages: [] }
  if (plan.rules.length === 1 && first.kind === 'gpt2') return { howToSplit: SPLIT_GPT2, stages: [] }
  const stages = plan.rules.map(rule => (rule.kind === 'gpt2' ? compilePattern(GPT2_PATTERN) : rule.dfa))
  return { howToSplit: SPLIT_PATTERN, stages }
}
