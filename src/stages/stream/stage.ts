/**
 * Turns an async generator into a Node stream; every stage is built with it. The body reads `for await (const item of
 * input)` and yields, so backpressure, order and cleanup in `finally` come from the language. Node's own
 * `Duplex.from(generator)` and `compose(generator)` hang on Node 20 when a stage ends early; these do not.
 *
 * A stage buffers at most the item its body is working on and one finished item. A body that ends before its input
 * stops the stages before it, which end normally, so no input is read just to be dropped. (A source that is not a stage
 * cannot be stopped; it is read to its end.)
 */
import { Duplex, Readable, Writable } from 'node:stream'
import { PenstockError } from '../../errors.js'
import { isYieldDue, yieldIfDue } from '../../files/event-loop.js'
import type { SourceReading } from '../../files/sources/source-record.js'
import { type ItemKind, recordCount } from '../../formats/batches.js'
import type { StageJournal } from './stage-journal.js'
import type { StageStats } from './stage-stats.js'

export type { StageStats } from './stage-stats.js'

/** Context passed to a stage's body, in addition to its input. */
export interface StageContext {
  readonly stats: StageStats
  /** Aborted when the stream is destroyed. A body that waits for anything other than its input must observe it. */
  readonly signal: AbortSignal
  /** Present in a run that can be resumed after a kill. */
  readonly journal: StageJournal | undefined
  /** The files that the run reads, in their order; empty outside of a run. */
  readonly sources: readonly string[]
  /** Options by which the run reads them, other than the defaults. */
  readonly reading: SourceReading
  /** Adds to one of `stats.counts`. */
  count(name: string, amount: number): void
  /** Adds to `stats.notes`. */
  note(message: string): void
  /** Emits a 'report' event on the stream, such as a training step. */
  report(event: unknown): void
}

/** Name of a stage, and the kind of items that it accepts; a registry entry has both. Other items are rejected. */
export interface StageKind {
  readonly name: string
  readonly accepts?: ItemKind
}

export type SourceBody<Out> = (context: StageContext) => AsyncIterable<Out>
export type TransformBody<In, Out> = (input: AsyncIterable<In>, context: StageContext) => AsyncIterable<Out>
export type SinkBody<In> = (input: AsyncIterable<In>, context: StageContext) => Promise<void>

interface StageControls {
  readonly stageName: string
  readonly stats: StageStats
  /** Whether a later stage needed no more items: records in flight were dropped. */
  readonly isStopped: () => boolean
  /** Ends the stream early but normally, after delivering the items in flight. */
  stop(): void
  /** Attaches the run's journal; must be called before the first item. */
  keepJournal(journal: StageJournal): void
  /** Names the files that the run reads, and how; must be called before the first item. */
  nameSources(sources: readonly string[], reading: SourceReading): void
}
export interface SourceStage<Out> extends Readable, StageControls {
  readonly '~out'?: () => Out
}
export interface TransformStage<In, Out> extends Duplex, StageControls {
  readonly '~in'?: (item: In) => void
  readonly '~out'?: () => Out
}
export interface SinkStage<In> extends Writable, StageControls {
  readonly '~in'?: (item: In) => void
}
export type AnyStage = SourceStage<unknown> | TransformStage<never, unknown> | SinkStage<never>

/** A Readable that delivers the items yielded by `body`, which starts at the first read. */
export function source<Out>(name: string, body: SourceBody<Out>): SourceStage<Out> {
  const core = new StageCore<never, Out>(name)
  const stream = new Readable({
    objectMode: true,
    highWaterMark: 1,
    read: () => core.deliver(stream, () => body(core.context)),
    destroy: (error, done) => core.close(error, done),
  })
  return core.attachTo(stream)
}

/** A Duplex that passes its input to `body` and delivers the items that it yields. */
export function transform<In, Out>(stage: string | StageKind, body: TransformBody<In, Out>): TransformStage<In, Out> {
  const core = new StageCore<In, Out>(stage)
  const stream = new Duplex({
    objectMode: true,
    highWaterMark: 1,
    construct: done => {
      done()
      // Started eagerly: a transform works ahead by the one item that its output may buffer.
      core.deliver(stream, () => body(core.input(), core.context))
    },
    write: (item: In, _encoding, taken) => core.accept(item, taken),
    final: done => core.endInput(done),
    read: () => core.deliver(stream, () => body(core.input(), core.context)),
    destroy: (error, done) => core.close(error, done),
  })
  return core.attachTo(stream)
}

/** A Writable that passes its input to `body` and finishes when `body` resolves. */
export function sink<In>(stage: string | StageKind, body: SinkBody<In>): SinkStage<In> {
  const core = new StageCore<In, never>(stage)
  const stream = new Writable({
    objectMode: true,
    highWaterMark: 1,
    construct: done => {
      done()
      core.consume(stream, () => body(core.input(), core.context))
    },
    write: (item: In, _encoding, taken) => core.accept(item, taken),
    final: done => {
      core.endInput(() => {})
      core.finished.then(() => done(), done)
    },
    destroy: (error, done) => core.close(error, done),
  })
  return core.attachTo(stream)
}

/** Callback of a stream for an item that was taken or rejected. */
type Taken = (error?: Error) => void

function kindOf(item: unknown): string {
  if (item instanceof Uint8Array) return 'bytes'
  if (typeof item === 'string') return 'text'
  return (item as { kind?: string } | null)?.kind ?? 'other items'
}

const byteLengthOf = (item: unknown): number => (item as { byteLength?: number } | null)?.byteLength ?? 0

/** State shared by source, transform and sink: one slot for the incoming item, one waiter for room in the output. */
class StageCore<In, Out> {
  readonly name: string
  private readonly accepts: ItemKind | undefined
  readonly stats: StageStats = {
    itemsIn: 0,
    itemsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    recordsIn: 0,
    recordsOut: 0,
    rejected: 0,
    recounts: false,
    waitedForInputMs: 0,
    waitedForOutputMs: 0,
    state: 'idle',
    counts: {},
    notes: [],
  }
  readonly context: StageContext & {
    journal: StageJournal | undefined
    sources: readonly string[]
    reading: SourceReading
  }
  /** Settles when the body has ended and its `finally` blocks have run. */
  finished: Promise<void> = Promise.resolve()

  private readonly abort = new AbortController()
  private readonly upstream = new Set<Partial<StageControls>>()
  private stream: Readable | Writable | undefined
  private started = false
  private stopped = false
  private bodyEnded = false
  private slot: { item: In; taken: Taken } | undefined
  private inputEnded = false
  private wakeInput: (() => void) | undefined
  private wakeOutput: (() => void) | undefined

  constructor(stage: string | StageKind) {
    const { name, accepts }: StageKind = typeof stage === 'string' ? { name: stage } : stage
    this.name = name
    this.accepts = accepts
    this.context = {
      stats: this.stats,
      signal: this.abort.signal,
      journal: undefined,
      sources: [],
      reading: {},
      count: (counter, amount) => {
        this.stats.counts[counter] = (this.stats.counts[counter] ?? 0) + amount
      },
      note: message => void this.stats.notes.push(message),
      report: event => void this.stream?.emit('report', event),
    }
  }

  attachTo<S extends Readable | Writable>(stream: S): S & StageControls {
    this.stream = stream
    if (stream instanceof Writable) {
      stream.on('pipe', (from: Partial<StageControls>) => this.upstream.add(from))
      stream.on('unpipe', (from: Partial<StageControls>) => this.upstream.delete(from))
    }
    return Object.assign(stream, {
      stageName: this.name,
      stats: this.stats,
      isStopped: () => this.stopped,
      stop: () => this.stop(),
      nameSources: (sources: readonly string[], reading: SourceReading) => {
        this.context.sources = sources
        this.context.reading = reading
      },
      keepJournal: (journal: StageJournal) => {
        this.context.journal = journal
        journal.restore(this.stats)
      },
    })
  }

  /** The first call starts the body and pushes its items; later calls signal that there is room again. */
  deliver(stream: Readable, start: () => AsyncIterable<Out>): void {
    this.wakeOutput?.()
    if (this.started) return
    this.started = true
    this.finished = this.pump(stream, start()).catch(error => void stream.destroy(error))
  }

  private async pump(stream: Readable, output: AsyncIterable<Out>): Promise<void> {
    this.stats.state = 'working'
    for await (const item of output) {
      // Stages hand items on within one turn of the event loop; together they could delay a signal by several items.
      // Another stage, such as a trainer, may block the thread meanwhile, which is not work of this stage.
      if (isYieldDue()) await this.waitingForOutput(yieldIfDue())
      if (stream.destroyed) return
      this.stats.itemsOut++
      this.stats.bytesOut += byteLengthOf(item)
      this.stats.recordsOut += recordCount(item)
      this.context.journal?.noteOut(item, this.stats)
      if (!stream.push(item) && !this.stopped) await this.waitForRoom()
      if (stream.destroyed) return
      if (this.stopped) break
    }
    this.endBody()
    stream.push(null)
  }

  /** Runs the body of a sink. */
  consume(stream: Writable, start: () => Promise<void>): void {
    this.stats.state = 'working'
    this.finished = start().then(() => this.endBody())
    this.finished.catch(error => void stream.destroy(error))
  }

  /**
   * The body's input. Throws inside the body when the stream is destroyed, so that an abort is never mistaken for the
   * end.
   */
  async *input(): AsyncGenerator<In> {
    for (;;) {
      if (this.abort.signal.aborted) throw this.abort.signal.reason
      if (this.slot !== undefined) {
        const { item, taken } = this.slot
        this.stats.itemsIn++
        this.stats.bytesIn += byteLengthOf(item)
        this.stats.recordsIn += recordCount(item)
        this.context.journal?.noteIn(item, this.stats)
        yield item
        // Accept the next item only after the body is done with this one.
        this.slot = undefined
        taken()
      } else if (this.inputEnded) {
        return
      } else {
        const since = performance.now()
        this.stats.state = 'waiting for input'
        await new Promise<void>(resolve => {
          this.wakeInput = resolve
        })
        this.wakeInput = undefined
        this.stats.waitedForInputMs += performance.now() - since
        this.stats.state = 'working'
      }
    }
  }

  accept(item: In, taken: Taken): void {
    const { name, accepts } = this
    const kind = kindOf(item)
    if (accepts !== undefined && kind !== accepts) {
      const remedy = kind === 'text' ? ': do not set an encoding on the stream before, or convert with Buffer.from' : ''
      taken(new PenstockError('STAGES_MISFIT', `${name} accepts ${accepts}, found ${kind}${remedy}`, { stage: name }))
    } else if (this.bodyEnded) {
      taken()
    } else {
      this.slot = { item, taken }
      this.wakeInput?.()
    }
  }

  endInput(done: () => void): void {
    this.inputEnded = true
    this.wakeInput?.()
    done()
  }

  stop(): void {
    this.stopped = true
    this.wakeOutput?.()
    for (const before of this.upstream) before.stop?.()
  }

  close(error: Error | null, done: (error?: Error | null) => void): void {
    this.abort.abort(error ?? new PenstockError('STOPPED', 'the stream was destroyed', { stage: this.name }))
    this.wakeInput?.()
    this.wakeOutput?.()
    // 'close' is emitted after the body's `finally` blocks, when every handle is closed.
    this.finished.catch(() => {}).then(() => done(error))
  }

  private async waitForRoom(): Promise<void> {
    await this.waitingForOutput(
      new Promise<void>(resolve => {
        this.wakeOutput = resolve
      }),
    )
    this.wakeOutput = undefined
  }

  /** Counts the time until `end` as waiting, with the delay until the thread is free. */
  private async waitingForOutput(end: Promise<void>): Promise<void> {
    const since = performance.now()
    this.stats.state = 'waiting for output'
    await end
    this.stats.waitedForOutputMs += performance.now() - since
    this.stats.state = 'working'
  }

  private endBody(): void {
    this.bodyEnded = true
    this.stats.state = 'ended'
    const { slot } = this
    this.slot = undefined
    if (!this.inputEnded) for (const before of this.upstream) before.stop?.()
    slot?.taken()
  }
}
