/**
 * A single HTTP request. On `node:https` and not `fetch`, which decompresses what a store keeps with a `Content-Encoding`,
 * so that ranges of it make no sense.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'

/** Without a byte in either direction. */
const IDLE_MS = 60_000
const MAX_SOCKETS = 32
/** Of a response that is read as text: an error, or a page of a listing. */
const MAX_TEXT_BYTES = 64 << 20

const plain = new HttpAgent({ keepAlive: true, maxSockets: MAX_SOCKETS })
const secure = new HttpsAgent({ keepAlive: true, maxSockets: MAX_SOCKETS })

export interface HttpRequest {
  readonly url: string | URL
  readonly method?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: Uint8Array | string | undefined
}

export interface HttpResponse {
  readonly status: number
  /** Lower-case name; undefined for a header that was not sent. */
  header(name: string): string | undefined
  /** To be read to its end, or destroyed. */
  readonly body: IncomingMessage
}

/** Sends a request; redirects are not followed. Throws the errors of the system, and the reason of an abort. */
export function sendRequest({ url, method, headers, body }: HttpRequest, signal?: AbortSignal): Promise<HttpResponse> {
  const target = new URL(url)
  const [send, agent] = target.protocol === 'http:' ? [httpRequest, plain] : [httpsRequest, secure]
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': `${Buffer.byteLength(body)}` }
    const options = { method: method ?? 'GET', agent, headers: { ...headers, ...length }, ...(signal && { signal }) }
    const sent = send(target, options, message => {
      resolve({
        status: message.statusCode!,
        header: name => {
          const value = message.headers[name]
          return Array.isArray(value) ? value.join(', ') : value
        },
        body: message,
      })
    })
    sent.setTimeout(IDLE_MS, () => sent.destroy(new Error(`no answer for ${IDLE_MS / 1000} seconds`)))
    sent.once('error', error => reject(signal?.aborted ? signal.reason : error))
    sent.end(body)
  })
}

/** The body as text. Throws the errors of the system. */
export async function textOf({ body }: HttpResponse): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_TEXT_BYTES) throw new Error(`the answer is longer than ${MAX_TEXT_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Copies the body until it ends, also when it ends early. Bytes beyond the room in `into` are dropped. */
export async function copyBody(
  { body }: HttpResponse,
  into: Uint8Array,
): Promise<{ readonly bytes: number; readonly error?: unknown }> {
  let bytes = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      const wanted = chunk.subarray(0, into.byteLength - bytes)
      into.set(wanted, bytes)
      bytes += wanted.byteLength
      if (bytes === into.byteLength && wanted.byteLength < chunk.byteLength) break
    }
    return { bytes }
  } catch (error) {
    return { bytes, error }
  }
}
