/**
 * Destination for the events of a run. If a sink fails while opening, logging or closing, the failure is reported once,
 * the sink receives no further events, and the run continues.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { PenstockError, toPenstockError } from '../../errors.js'
import type { RunEvent } from '../run-event.js'

export interface MetricSink {
  /** Returns immediately; slow work is done asynchronously. */
  log(event: RunEvent): void
  /** Resolves when everything logged has been written or sent. */
  close(): Promise<void>
  /** Timeout of `close`, if the default is too short. */
  readonly closeTimeoutMs?: number
}

/** Opens a sink; the sink reports errors outside of its methods through `fail`. */
export type SinkOpener = (fail: (error: unknown) => void) => MetricSink | Promise<MetricSink>

export type SinkFailure = (sink: string, error: PenstockError) => void

/** How long the end of a run waits for a sink to close. */
const CLOSE_TIMEOUT_MS = 20_000

/** Wraps a sink so that its failures cannot affect the run. */
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
    const timeout = sleep(timeoutMs, undefined, { signal: timer.signal, ref: false }).then(() => {
      throw new PenstockError('FILE_UNWRITABLE', `did not finish within ${timeoutMs / 1000} s`)
    })
    timeout.catch(() => {})
    try {
      await Promise.race([this.inner?.close(), timeout])
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
