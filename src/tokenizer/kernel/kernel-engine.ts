/**
 * The engine in WebAssembly with 128-bit vectors, compiled from assembly/. It gives the tokens of the TypeScript engine,
 * five to nine times as fast (bench/tokenizer.ts), for byte-level vocabularies; `whyNoKernel` lists its limits. For all others
 * it cuts texts into chunks and caches their tokens; the host encodes new chunks.
 */
import { NONE } from '../engine/bpe.js'
import { NO_WORDS } from '../engine/byte-level.js'
import { type ChunkPlan, type Engine, type EnginePlan, type HostRules, MAX_CHUNK_TOKENS } from '../engine/engine.js'
import { fillTables, growTo, type KernelExports, type KernelTables, TEMPLATE_LIMIT, wordCacheSize } from './memory.js'

/** Compiled module, or the bytes of kernel.wasm. */
export type KernelSource = WebAssembly.Module | BufferSource

export interface KernelOptions {
  /** The compiled kernel (penstock-ml/kernel.wasm) or its module; without it, the TypeScript engine is used. */
  readonly wasm?: KernelSource | undefined
  /**
   * Most memory for words whose tokens are known, in bytes, with the kernel. It takes what the texts need, but may exceed a
   * limit below 50 MB. Default: 100 MB.
   */
  readonly cacheBytes?: number | undefined
}

/** Bytes that the kernel may read or write after its input. */
const SLACK = 128
/** Memory of the word cache unless the caller says otherwise. */
const DEFAULT_CACHE_BYTES = 100e6
/** Inputs of at least this size will use most of the word cache. */
const MUCH_TEXT_BYTES = 1 << 16

/** A plan without tokens, for a kernel that only scans lines. */
const NO_PLAN: EnginePlan = {
  symbols: {
    unit: 'bytes',
    byteIds: new Uint32Array(256),
    innerPairs: new Uint8Array(8192),
    characterIds: new Map(),
    byteFallback: false,
    unknownId: NONE,
    fuseUnknown: false,
  },
  merges: { left: new Uint32Array(0), right: new Uint32Array(0), result: new Uint32Array(0) },
  rules: [],
  vocabulary: new Map(),
  words: NO_WORDS,
  ignoresMerges: false,
  totalSize: 1,
}

/** Reason why the kernel cannot encode with this plan; `undefined` if it can. */
export function whyNoKernel(plan: EnginePlan): string | undefined {
  if (plan.symbols.unit !== 'bytes') return 'the vocabulary is not byte-level'
  if (plan.symbols.byteIds.includes(NONE)) return 'the vocabulary lacks some bytes'
  if (plan.totalSize > 1 << 20) return 'the vocabulary has more than 2^20 tokens'
  if (plan.merges.left.length >= 1 << 24) return 'there are more than 2^24 merges'
  const isPlain = plan.rules.every(rule => rule.kind === 'gpt2' || (rule.behavior === 'Isolated' && !rule.invert))
  return isPlain ? undefined : 'a split rule removes or joins its matches'
}

/** Compiles synchronously if given bytes: a few milliseconds; browsers may require a Module instead. */
export function compileKernel(source: KernelSource): WebAssembly.Module {
  return source instanceof WebAssembly.Module ? source : new WebAssembly.Module(source)
}

/** Functions of the host that the kernel calls for chunks. */
interface ChunkHost {
  readonly mayEndChunk: (codePoint: number) => boolean
  /** Writes the tokens of a chunk to the address `out`; returns their number. */
  readonly encodeWord: (word: number, length: number, out: number) => number
}

const stop = (): never => {
  throw new WebAssembly.RuntimeError('the kernel stopped')
}

/** Creates an instance with its own memory. */
export function startKernel(
  source: KernelSource,
  memory: WebAssembly.Memory,
  host: ChunkHost = { mayEndChunk: stop, encodeWord: stop },
): KernelExports {
  const env = { memory, abort: stop, ...host }
  return new WebAssembly.Instance(compileKernel(source), { env }).exports as unknown as KernelExports
}

/** Whether this engine runs WebAssembly with 128-bit vectors: validates the smallest module that uses one. */
export function supportsKernel(): boolean {
  const module = [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
  ]
  return typeof WebAssembly === 'object' && WebAssembly.validate(Uint8Array.from(module))
}

export class KernelEngine implements Engine {
  bytes = new Uint8Array(0)
  tokens: Uint16Array | Uint32Array = new Uint16Array(0)
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536 })
  readonly exports: KernelExports
  readonly tables: KernelTables
  private readonly isWide: boolean
  private readonly bytesAt: number
  private tokensAt: number
  private capacity = 0
  private isCacheWritten: boolean
  private readonly tokensPerByte: number

  /**
   * Without a plan the engine can only scan lines.
   * @param cacheBytes most memory of the word cache, which grows when the texts have many different words
   */
  constructor(source: KernelSource, plan?: EnginePlan | ChunkPlan, cacheBytes = DEFAULT_CACHE_BYTES) {
    const chunks = plan !== undefined && 'encoder' in plan ? plan : undefined
    this.exports = startKernel(source, this.memory, {
      mayEndChunk: codePoint => chunks!.rules.mayEndWith(codePoint),
      encodeWord: (word, length, out) => this.writeWord(chunks!, (word >>> 0) - this.bytesAt, length, out >>> 0),
    })
    const tablePlan = plan === undefined || 'encoder' in plan ? NO_PLAN : plan
    const size = plan === undefined ? { bits: 4, mostBits: 4 } : wordCacheSize(cacheBytes)
    this.tables = fillTables(this.memory, this.exports, tablePlan, size, chunks?.rules)
    this.tokensPerByte = chunks === undefined ? 1 : MAX_CHUNK_TOKENS
    this.isCacheWritten = plan === undefined
    this.isWide = plan !== undefined && plan.totalSize > 0x10000
    this.exports.configure(this.tables.howToSplit, this.isWide ? 1 : 0)
    this.bytesAt = (this.tables.end + 0xfff) & ~0xfff
    this.tokensAt = this.bytesAt
    this.reserve(1, 0)
  }

  reserve(byteLength: number, keptTokens: number): void {
    if (byteLength <= this.capacity) return
    const from = this.tokensAt
    this.capacity = (Math.max(byteLength, this.capacity * 1.5, 1 << 16) + 0xfff) & ~0xfff
    this.tokensAt = this.bytesAt + this.capacity + SLACK
    const width = this.isWide ? 4 : 2
    const end = this.tokensAt + this.capacity * this.tokensPerByte * width + SLACK
    growTo(this.memory, end)
    new Uint8Array(this.memory.buffer).copyWithin(this.tokensAt, from, from + keptTokens * width)
    this.exports.setFree(end)
    this.view()
    if (byteLength >= MUCH_TEXT_BYTES) this.writeCache()
  }

  /**
   * A page of memory that is read before it is written is mapped twice, and the second mapping stops all other threads. The
   * cache is read first, so each of its pages is written once in advance.
   */
  private writeCache(): void {
    if (!this.isCacheWritten) this.clearCache()
    this.isCacheWritten = true
  }

  encode(start: number, end: number, at: number): number {
    return this.encodeWith(this.exports.encode, start, end, at)
  }

  encodeDocument(start: number, end: number, at: number): number {
    return this.encodeWith(this.exports.encodeDocument, start, end, at)
  }

  setTemplate(before: readonly number[], after: readonly number[]): boolean {
    const tokens = [...before, ...after]
    if (tokens.length > TEMPLATE_LIMIT) return false
    new Uint32Array(this.memory.buffer).set(tokens, this.tables.template / 4)
    this.exports.setTemplate(before.length, after.length)
    return true
  }

  /** Recreates the views after a call of the kernel: memory that grew, for the heap of a very long word, has a new buffer. */
  refresh(): void {
    if (this.bytes.buffer !== this.memory.buffer) this.view()
  }

  setHostRules(rules: HostRules): void {
    const { exports, memory, tables } = this
    const pairs = new Uint8Array(memory.buffer, tables.tokenPairs, 8192).fill(0)
    for (const token of rules.tokens) {
      const seconds = token.length > 1 ? [token[1]!] : Array.from({ length: 256 }, (_, byte) => byte)
      for (const second of seconds) {
        const pair = token[0]! | (second << 8)
        pairs[pair >> 3]! |= 1 << (pair & 7)
      }
    }
    if (rules.changing !== undefined) new Uint8Array(memory.buffer).set(rules.changing, tables.changing)
    const leads = [...new Set(rules.tokens.map(token => token[0]!))]
    const four = [0, 1, 2, 3].map(i => leads[i] ?? leads[0] ?? 0)
    const packed = (four[0]! | (four[1]! << 8) | (four[2]! << 16) | (four[3]! << 24)) >>> 0
    exports.setHostRules(
      rules.seesAll ? 1 : 0,
      rules.changing === undefined ? 256 : rules.firstByte,
      rules.tokens.length > 0 ? 1 : 0,
      packed,
      leads.length <= 4 ? 1 : 0,
    )
  }

  needsHost(start: number, end: number): boolean {
    return this.exports.needsHost(this.bytesAt + start, this.bytesAt + end) !== 0
  }

  mayHaveToken(start: number, end: number): boolean {
    return this.exports.mayHaveToken(this.bytesAt + start, this.bytesAt + end) !== 0
  }

  clearCache(): void {
    this.exports.clearWords()
  }

  /** Address of bytes[offset] in the memory. */
  addressOf(offset: number): number {
    return this.bytesAt + offset
  }

  /** Converts tokens[at] to its address in the memory, and back. */
  tokenAddress(at: number): number {
    return this.tokensAt + at * (this.isWide ? 4 : 2)
  }
  tokenIndex(address: number): number {
    return ((address >>> 0) - this.tokensAt) / (this.isWide ? 4 : 2)
  }

  private encodeWith(encode: KernelExports['encode'], start: number, end: number, at: number): number {
    const width = this.isWide ? 4 : 2
    const { bytesAt, tokensAt } = this
    const stop = encode(bytesAt + start, bytesAt + end, tokensAt + at * width) >>> 0
    this.refresh()
    return (stop - tokensAt) / width
  }

  /** Called by the kernel for a chunk at bytes[start] that is not cached; writes its tokens to the address `out`. */
  private writeWord({ encoder }: ChunkPlan, start: number, length: number, out: number): number {
    const count = encoder.encodeWord(this.bytes, start, start + length)
    const { ids } = encoder
    const first = this.tokenIndex(out)
    for (let i = 0; i < count; i++) this.tokens[first + i] = ids[i]!
    return count
  }

  private view(): void {
    const { buffer } = this.memory
    this.bytes = new Uint8Array(buffer, this.bytesAt, this.capacity)
    const View = this.isWide ? Uint32Array : Uint16Array
    this.tokens = new View(buffer, this.tokensAt, this.capacity * this.tokensPerByte)
  }
}
