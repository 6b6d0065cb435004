/** Requests to web servers: redirects, ranges and what their statuses mean. */
import { PenstockError } from '../../errors.js'
import { type HttpResponse, sendRequest } from './http-request.js'
import type { RemoteEntry } from './remote-store.js'
import { withRetries } from './retries.js'

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
const MAX_REDIRECTS = 10

export interface WebRequest {
  /** As the user wrote it, for errors: redirects may lead to addresses that contain a signature. */
  readonly name: string
  readonly url: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Sent to the host of `url` only, not to those that it redirects to. */
  readonly token?: string | undefined
}

export interface WebAnswer {
  readonly response: HttpResponse
  /** Where the redirects have led. */
  readonly url: string
  /** Headers of the redirects, by lower-case name; the last one counts. */
  readonly header: (name: string) => string | undefined
}

/** Sends a request and follows redirects. @throws FILE_UNREADABLE without an answer; the signal's reason */
export function sendToWeb(request: WebRequest, signal?: AbortSignal): Promise<WebAnswer> {
  return withRetries(request.name, () => follow(request, signal), signal)
}

async function follow({ name, method, headers, body, token, url: start }: WebRequest, signal?: AbortSignal) {
  const passed: HttpResponse[] = []
  for (let url = start; ; ) {
    const isOwnHost = new URL(url).origin === new URL(start).origin
    const authorization = token !== undefined && isOwnHost ? { authorization: `Bearer ${token}` } : {}
    const response = await sendRequest({ url, method, headers: { ...headers, ...authorization }, body }, signal)
    passed.push(response)
    const location = response.header('location')
    if (!REDIRECTS.has(response.status) || location === undefined) {
      const header = (wanted: string) => passed.findLast(one => one.header(wanted) !== undefined)?.header(wanted)
      return { response, url, header }
    }
    response.body.resume()
    if (passed.length > MAX_REDIRECTS) {
      throw new PenstockError('FILE_UNREADABLE', `more than ${MAX_REDIRECTS} redirects`, { file: name })
    }
    const next = new URL(location, url)
    if (new URL(url).protocol === 'https:' && next.protocol !== 'https:') {
      throw new PenstockError('FILE_UNREADABLE', 'the server redirects to an address without encryption', {
        file: name,
      })
    }
    url = next.href
  }
}

export const rangeHeader = (from: number, to: number): { readonly range: string } => ({
  range: `bytes=${from}-${to - 1}`,
})

/** Size of the whole file according to the answer to a request for a part of it. */
export function sizeIn(response: HttpResponse): number | undefined {
  const range = response.header('content-range')
  const size = range === undefined ? undefined : /\/(\d+)$/.exec(range)?.[1]
  return size === undefined ? undefined : Number(size)
}

/**
 * Checks that an answer is the part of the file that was asked for.
 * @throws FILE_CHANGED for a file of another size; UNSUPPORTED for a server that sends whole files only
 */
export function checkRange({ name, size }: RemoteEntry, response: HttpResponse): void {
  const found = sizeIn(response)
  if (response.status === 206 && (found === undefined || found === size)) return
  response.body.destroy()
  const where = { file: name }
  if (response.status === 200) throw new PenstockError('UNSUPPORTED', WITHOUT_RANGES, where)
  if (response.status === 206 || response.status === 416 || response.status === 412) {
    throw new PenstockError('FILE_CHANGED', 'the file was replaced while it was read', where)
  }
  throw new PenstockError('FILE_UNREADABLE', `the server refused the request (HTTP status ${response.status})`, where)
}

export const WITHOUT_RANGES = 'the server sends only whole files (no range requests): download the file first'
