/**
 * TimeSlices an async generator into a real Node stream: the one helper behind every stage. Streams outside, generators
 * inside: the body reads `for await (const item of input)` and yields, so back-pressure, order and clean-up in `finally`
 * come from the language. Node's own `Duplex.from(generator)` and `compose(generator)` hang on Node 20 when a stage ends
 * early; these do not.
 *
 * Each stage holds at most the item that its body works on and one finished item. A body that ends before its input
 * does asks the stages before it to stop, which end normally: nothing is read only to be dropped. (A source that is no
 * stage cannot be asked; it is read to its end.)
 */
import { Duplex, Readable, Writable } from 'node:stream'
import { PenstockError } from '../../errors.js'
import { recordCount } from '../../formats/batches.js'
import type { StageJournal } from './stage-journal.js'
import type { StageStats } from './stage-stats.js'

export type { StageStats } from './stage-stats.js'

/** What a body is given beside its input. */
export interface StageContext {
  readonly stats: StageStats
  /** Aborted when the stream is destroyed: a body that waits for anything but its input listens to it. */
  readonly signal: AbortSignal
  /** Of a run that can go on when it was killed; undefined elsewhere. */
  readonly journal: StageJournal | undefined
  /** Adds to one of `stats.counts`. */
  count(name: string, amount: number): void
  /** Adds to `stats.notes`. */
  note(message: string): void
  /** Tells what listeners of the stream's 'report' event may want to know, such as a training step. */
  report(event: unknown): void
}

export type SourceBody<Out> = (context: StageContext) => AsyncIterable<Out>
export type TransformBody<In, Out> = (input: AsyncIterable<In>, context: StageContext) => AsyncIterable<Out>
export type SinkBody<In> = (input: AsyncIterable<In>, context: StageContext) => Promise<void>

interface StageControls {
  readonly stageName: string
  readonly stats: StageStats
  /** Ends the stream early and normally: what is under way is delivered, then the stream ends. */
  stop(): void
  /** Makes it a part of a run with a journal; to be called before anything comes to it. */
  keepJournal(journal: StageJournal): void
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

/** A stream that delivers what `body` yields. Nothing is opened before the stream is read. */
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

/** A stream that hands its input to `body` and delivers what that yields. */
export function transform<In, Out>(name: string, body: TransformBody<In, Out>): TransformStage<In, Out> {
  const core = new StageCore<In, Out>(name)
  const stream = new Duplex({
    objectMode: true,
    highWaterMark: 1,
    construct: done => {
      done()
      // Not only when read: a transform works ahead by the one item that its output may hold.
      core.deliver(stream, () => body(core.input(), core.context))
    },
    write: (item: In, _encoding, taken) => core.accept(item, taken),
    final: done => core.endInput(done),
    read: () => core.deliver(stream, () => body(core.input(), core.context)),
    destroy: (error, done) => core.close(error, done),
  })
  return core.attachTo(stream)
}

/** A stream that hands its input to `body` and finishes when that resolves. */
export function sink<In>(name: string, body: SinkBody<In>): SinkStage<In> {
  const core = new StageCore<In, never>(name)
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

const byteLengthOf = (item: unknown): number => (item as { byteLength?: number } | null)?.byteLength ?? 0

/** The state shared by the three shapes: one slot for an item on its way in, one waiter for room on the way out. */
class StageCore<In, Out> {
  readonly name: string
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
  readonly context: StageContext & { journal: StageJournal | undefined }
  /** Settles when the body is done and cleaned up. */
  finished: Promise<void> = Promise.resolve()

  private readonly abort = new AbortController()
  private readonly upstream = new Set<Partial<StageControls>>()
  private stream: Readable | Writable | undefined
  private started = false
  private stopped = false
  private bodyEnded = false
  private slot: { item: In; taken: () => void } | undefined
  private inputEnded = false
  private wakeInput: (() => void) | undefined
  private wakeOutput: (() => void) | undefined

  constructor(name: string) {
    this.name = name
    this.context = {
      stats: this.stats,
      signal: this.abort.signal,
      journal: undefined,
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
      stop: () => this.stop(),
      keepJournal: (journal: StageJournal) => {
        this.context.journal = journal
        journal.restore(this.stats)
      },
    })
  }

  /** Runs the body once and pushes what it yields; later calls only say that there is room again. */
  deliver(stream: Readable, start: () => AsyncIterable<Out>): void {
    this.wakeOutput?.()
    if (this.started) return
    this.started = true
    this.finished = this.pump(stream, start()).catch(error => void stream.destroy(error))
  }

  private async pump(stream: Readable, output: AsyncIterable<Out>): Promise<void> {
    this.stats.state = 'working'
    for await (const item of output) {
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

  /** The body's input; throws inside the body when the stream is destroyed, so that an abort is never taken for an end. */
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
        // Room for the next item only now that the body is done with this one.
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

  accept(item: In, taken: () => void): void {
    if (this.bodyEnded) {
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
    // 'close' comes after the body's `finally`: who waits for it finds every handle closed.
    this.finished.catch(() => {}).then(() => done(error))
  }

  private async waitForRoom(): Promise<void> {
    const since = performance.now()
    this.stats.state = 'waiting for output'
    await new Promise<void>(resolve => {
      this.wakeOutput = resolve
    })
    this.wakeOutput = undefined
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
