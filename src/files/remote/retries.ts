/**
 * Requests that are retried after a broken connection or a response that asks for it. Messages of errors have no addresses:
 * those of a CDN contain a signature.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { PenstockError } from '../../errors.js'
import type { HttpResponse } from './http-request.js'

const MAX_ATTEMPTS = 10
const FIRST_WAIT_MS = 100
const MAX_WAIT_MS = 10_000
/** The longest `Retry-After` that is obeyed. */
const MAX_ASKED_WAIT_MS = 60_000
const RETRIED_STATUS: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

/**
 * @param name of the file, for errors
 * @param attempt called once per attempt
 * @returns the first result whose response does not ask for another attempt
 * @throws FILE_UNREADABLE after ten attempts, the signal's reason after an abort
 */
export async function withRetries<Result extends { readonly response: HttpResponse }>(
  name: string,
  attempt: () => Promise<Result>,
  signal?: AbortSignal,
): Promise<Result> {
  const attempts = new Attempts(name, signal)
  for (;;) {
    try {
      const result = await attempt()
      const { response } = result
      if (!RETRIED_STATUS.has(response.status)) return result
      response.body.destroy()
      await attempts.next(`HTTP status ${response.status}`, askedWait(response))
    } catch (error) {
      await attempts.next(error)
    }
  }
}

/** Counts failed attempts and waits between them, with a random share of an exponentially growing time. */
export class Attempts {
  private readonly name: string
  private readonly signal: AbortSignal | undefined
  private failed = 0

  constructor(name: string, signal?: AbortSignal) {
    this.name = name
    this.signal = signal
  }

  /** To be called after progress: only failures in a row count. */
  reset(): void {
    this.failed = 0
  }

  /** Waits for the next attempt. @throws FILE_UNREADABLE after the last one; errors that a retry cannot cure */
  async next(reason: unknown, askedMs = 0): Promise<void> {
    this.signal?.throwIfAborted()
    if (reason instanceof PenstockError) throw reason
    if (++this.failed >= MAX_ATTEMPTS) {
      const message = `no complete response in ${MAX_ATTEMPTS} attempts: ${reasonOf(reason)}`
      throw new PenstockError('FILE_UNREADABLE', message, { file: this.name }, reason)
    }
    const limit = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** this.failed)
    await sleep(Math.max(askedMs, limit / 2 + (Math.random() * limit) / 2), undefined, { signal: this.signal })
  }
}

function askedWait(response: HttpResponse): number {
  const header = response.header('retry-after') ?? ''
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return ms > 0 ? Math.min(ms, MAX_ASKED_WAIT_MS) : 0
}

/** Of a host with several addresses, the error has one cause per address. */
function reasonOf(reason: unknown): string {
  const [first] = reason instanceof AggregateError ? (reason.errors as Error[]) : [reason]
  return first instanceof Error ? first.message : String(first)
}
