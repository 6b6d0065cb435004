/**
 * The general tokenizer: added tokens and a pipeline. Where the pipeline allows it, an engine cuts texts into chunks of about
 * a word and caches their tokens; it calls the pipeline only for new chunks.
 */
import { createChunkEngine, type Engine, MAX_CHUNK_TOKENS } from './engine/engine.js'
import type { PipelinePlan } from './file/tokenizer-json.js'
import { KernelEngine, type KernelOptions } from './kernel/kernel-engine.js'
import { type ChunkRules, firstChunkEnd, lastChunkStart } from './patterns/chunks.js'
import { NOT_LOCAL, Pipeline, type Place } from './pipeline.js'
import { AddedTokenFinder } from './steps/added-tokens.js'
import { SLACK, TokenizerBase } from './tokenizer-base.js'

/** Longer first and last chunks, and more of them, are not cached. */
const [MAX_CACHED_LENGTH, MAX_CACHED_EDGES] = [256, 1 << 15]

/** Rules of a text that is one chunk. */
const ONE_CHUNK: ChunkRules = {
  after: new Uint8Array(256),
  before: new Uint8Array(256),
  mayEndWith: () => false,
  isFirstSpecial: false,
  isLastSpecial: false,
}

export class PipelineTokenizer extends TokenizerBase {
  private readonly plan: PipelinePlan
  private readonly pipeline: Pipeline
  private readonly finder: AddedTokenFinder
  private readonly edgeIds = new Map<string, Uint32Array>()

  /** The kernel is used if the pipeline has chunks. */
  constructor(plan: PipelinePlan, options: KernelOptions = {}) {
    const pipeline = new Pipeline(plan)
    const engine = engineFor(plan, pipeline, options)
    super(plan, engine, { fast: plan.chunks !== undefined, why: describe(plan, engine) })
    this.plan = plan
    this.pipeline = pipeline
    const tokens = plan.added.tokens.filter(token => !token.normalized && token.content !== '')
    this.finder = new AddedTokenFinder(tokens)
    const encoder = new TextEncoder()
    const contents = tokens.map(({ content }) => encoder.encode(content))
    engine.setHostRules({ seesAll: true, changing: undefined, firstByte: 0, tokens: contents })
  }

  encodeLoaded(start: number, end: number, at: number, scratch = end): number {
    const { engine, finder, plan } = this
    this.reserve(at + plan.before.length, end - start, scratch, at)
    let next = at
    for (const id of plan.before) engine.tokens[next++] = id
    if (!engine.mayHaveToken(start, end)) next = this.encodePart(start, end, next, start, scratch)
    else {
      for (const part of finder.split(engine.bytes, start, end)) {
        if (part.token === undefined) next = this.encodePart(part.start, part.end, next, start, scratch)
        else next = this.put([part.token.id], next, end - part.end, scratch)
      }
    }
    return this.put(plan.after, next, 0, scratch)
  }

  /** Makes room for tokens up to `count` and those of `byteLength` bytes after them; keeps the first `kept` ones. */
  private reserve(count: number, byteLength: number, scratch: number, kept: number): void {
    const tokens = count + MAX_CHUNK_TOKENS * byteLength + this.plan.after.length
    this.engine.reserve(Math.max(scratch, Math.ceil(tokens / MAX_CHUNK_TOKENS)) + SLACK, kept)
  }

  /** Writes tokens that are followed by those of `byteLength` bytes. */
  private put(ids: ArrayLike<number>, at: number, byteLength: number, scratch: number): number {
    this.reserve(at + ids.length, byteLength, scratch, at)
    this.engine.tokens.set(ids, at)
    return at + ids.length
  }

  /** Encodes text between added tokens, of a document that starts at `documentStart`. */
  private encodePart(start: number, end: number, at: number, documentStart: number, scratch: number): number {
    const { engine, pipeline, plan } = this
    const isDocumentStart = start === documentStart
    if (start === end) return at
    if (plan.chunks !== undefined) {
      try {
        return this.encodeChunks(start, end, at, isDocumentStart, plan.chunks, scratch)
      } catch (error) {
        if (error !== NOT_LOCAL) throw error
      }
    }
    const count = pipeline.encodeWhole(pipeline.textOf(engine.bytes, start, end), isDocumentStart)
    return this.put(pipeline.ids.subarray(0, count), at, scratch - end, scratch)
  }

  /** @throws NOT_LOCAL */
  private encodeChunks(
    start: number,
    end: number,
    at: number,
    isDocumentStart: boolean,
    rules: ChunkRules,
    scratch: number,
  ): number {
    const { engine } = this
    let [from, to, next] = [start, end, at]
    if (rules.isFirstSpecial) {
      from = firstChunkEnd(rules, engine.bytes, start, end)
      const ids = this.idsOfEdge(start, from, { isFirst: true, isLast: from === end, isDocumentStart })
      next = this.put(ids, next, scratch - from, scratch)
    }
    if (rules.isLastSpecial && from < end) to = lastChunkStart(rules, engine.bytes, from, end)
    next = engine.encode(from, to, next)
    if (to === end) return next
    const ids = this.idsOfEdge(to, end, { isFirst: to === start, isLast: true, isDocumentStart: false })
    return this.put(ids, next, scratch - end, scratch)
  }

  private idsOfEdge(start: number, end: number, place: Place): Uint32Array {
    const { edgeIds, pipeline } = this
    const text = pipeline.textOf(this.engine.bytes, start, end)
    const key = `${Number(place.isFirst)}${Number(place.isLast)}${Number(place.isDocumentStart)}${text}`
    const known = edgeIds.get(key)
    if (known !== undefined) return known
    // Encoding may replace `ids` by a larger array.
    const count = pipeline.encodeChunk(text, place)
    const ids = pipeline.ids.slice(0, count)
    if (edgeIds.size >= MAX_CACHED_EDGES) edgeIds.clear()
    if (text.length <= MAX_CACHED_LENGTH) edgeIds.set(key, ids)
    return ids
  }
}

function engineFor({ chunks, totalSize }: PipelinePlan, encoder: Pipeline, options: KernelOptions): Engine {
  const { wasm, cacheBytes } = options
  const plan = { rules: chunks ?? ONE_CHUNK, encoder, totalSize }
  return chunks === undefined || wasm === undefined ? createChunkEngine(plan) : new KernelEngine(wasm, plan, cacheBytes)
}

function describe({ chunks }: PipelinePlan, engine: Engine): string {
  if (chunks === undefined) return 'our general pipeline in TypeScript, without a cache for words'
  return `our general pipeline in TypeScript, with a cache for words in ${engine instanceof KernelEngine ? 'WebAssembly' : 'TypeScript'}`
}
