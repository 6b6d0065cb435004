/**
 * Where the events of a run go. A sink may fail at any time, when it is opened, told something or closed: that is
 * reported once, the sink is told nothing more, and the run goes on.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { PenstockError, toPenstockError } from '../../errors.js'
import type { RunEvent } from '../run-event.js'

export interface MetricSink {
  /** Returns at once; what takes time happens later. */
  log(event: RunEvent): void
  /** Resolves when everything that was logged is where it should be. */
  close(): Promise<void>
  /** How long to wait for that, where the usual time is too short. */
  readonly closeTimeoutMs?: number
}

/** Makes a sink; `fail` is for what goes wrong outside of a call. */
export type SinkOpener = (fail: (error: unknown) => void) => MetricSink | Promise<MetricSink>

export type SinkFailure = (sink: string, error: PenstockError) => void

/** How long the end of a run waits for a sink that does not answer. */
const CLOSE_TIMEOUT_MS = 20_000

/** A sink that cannot do harm. */
export class GuardedSink implements MetricSink {
  private readonly name: string
  private readonly onFailure: SinkFailure
  private inner: MetricSink | undefined
  private failed = false

  private constructor(name: string, onFailure: SinkFailure) {
    this.name = name
    this.onFailure = onFailure
  }

  static async open(name: string, opener: SinkOpener, onFailure: SinkFailure): Promise<GuardedSink> {
    const sink = new GuardedSink(name, onFailure)
    try {
      sink.inner = await opener(error => sink.fail(error))
    } catch (error) {
      sink.fail(error)
    }
    return sink
  }

  log(event: RunEvent): void {
    if (this.failed) return
    try {
      this.inner?.log(event)
    } catch (error) {
      this.fail(error)
    }
  }

  async close(timeoutMs = this.inner?.closeTimeoutMs ?? CLOSE_TIMEOUT_MS): Promise<void> {
    const timer = new AbortController()
    const tooLate = sleep(timeoutMs, undefined, { signal: timer.signal, ref: false }).then(() => {
      throw new PenstockError('FILE_UNWRITABLE', `did not finish within ${timeoutMs / 1000} s`)
    })
    tooLate.catch(() => {})
    try {
      await Promise.race([this.inner?.close(), tooLate])
    } catch (error) {
      this.fail(error)
    } finally {
      timer.abort()
    }
  }

  private fail(error: unknown): void {
    if (this.failed) return
    this.failed = true
    this.onFailure(this.name, toPenstockError(error, 'FILE_UNWRITABLE'))
  }
}
