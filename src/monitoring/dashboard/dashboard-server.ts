/**
 * Serves the dashboard and its data on the loopback interface only. Requests that another site may have triggered are
 * rejected: Host must be a name of this machine, which prevents DNS rebinding, and Origin and Sec-Fetch-Site must be those
 * of the dashboard itself. The interface is read-only.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PenstockError } from '../../errors.js'
import type { PrometheusState } from '../sinks/prometheus.js'
import { LiveFeed } from './live-feed.js'
import { pageFiles } from './page-files.js'
import type { PlanProgress } from './plan-progress.js'
import type { Axis, RunHistory } from './run-history.js'

const LOCAL_NAMES = ['127.0.0.1', 'localhost', '[::1]']
const MAX_CONNECTIONS = 256
/** Requests that take longer to arrive are dropped. */
const REQUEST_TIMEOUT_MS = 3000
const CHECK_EVERY_MS = 1000
/** Connections without traffic are dropped, such as those of clients that do not read; live pages get pings more often. */
const IDLE_TIMEOUT_MS = 60_000
const AXES: readonly Axis[] = ['step', 'tokens', 'time']
const MAX_POINTS = 20_000
const DEFAULT_POINTS = 2000

const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}

export interface DashboardOptions {
  readonly port: number
  readonly runs: readonly RunHistory[]
  /** Work that is divided into shards. */
  readonly plans?: readonly PlanProgress[]
  /** Whether open pages receive live updates. */
  readonly live: boolean
  readonly metrics?: PrometheusState
}

export interface Dashboard {
  /** URL with a trailing slash. */
  readonly address: string
  readonly feed: LiveFeed
  close(): Promise<void>
}

/** Resolves once the server is listening. @throws ARGUMENT_INVALID if the port is in use */
export async function serveDashboard(options: DashboardOptions): Promise<Dashboard> {
  const feed = new LiveFeed()
  const files = pageFiles()
  const server = createServer({ connectionsCheckingInterval: CHECK_EVERY_MS }, (request, response) => {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
    const refusal = refusalOf(request)
    const [path = '', query = ''] = (request.url ?? '').split('?')
    const file = files.get(path)
    if (refusal !== undefined) answer(response, ...refusal)
    else if (file !== undefined) answer(response, 200, file.body, file.type)
    else answerData(path, new URLSearchParams(query), response, options, feed)
  })
  server.maxConnections = MAX_CONNECTIONS
  server.headersTimeout = REQUEST_TIMEOUT_MS
  server.requestTimeout = REQUEST_TIMEOUT_MS
  server.setTimeout(IDLE_TIMEOUT_MS)
  await listen(server, options.port)
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    feed,
    close: async () => {
      feed.close()
      const closed = new Promise<void>(resolve => void server.close(() => resolve()))
      // Allow pending responses to be sent, but do not wait for keep-alive connections.
      setTimeout(() => server.closeAllConnections(), 200).unref()
      await closed
    },
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (error: Error): void => {
      const message = `cannot serve the dashboard on port ${port} (${error.message}); choose another port, or 0 for any free one`
      reject(new PenstockError('ARGUMENT_INVALID', message, {}, error))
    }
    server.once('error', refuse)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', refuse)
      resolve()
    })
  })
}

/** Status and body for a rejected request; undefined for an allowed one. */
function refusalOf({ method, headers, url }: IncomingMessage): [number, string] | undefined {
  if (method !== 'GET') return [405, 'only GET is allowed']
  const host = headers.host ?? ''
  if (!LOCAL_NAMES.includes(host.replace(/:\d+$/, ''))) return [403, 'the dashboard is available on this machine only']
  if (headers.origin !== undefined && headers.origin !== `http://${host}`) return [403, 'cross-origin request']
  const site = headers['sec-fetch-site'] ?? 'same-origin'
  // Following a link to the page is safe: the page cannot be framed, and its data needs same-origin requests.
  const followsLink =
    headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document' && url === '/'
  if (site !== 'same-origin' && site !== 'none' && !followsLink) return [403, 'cross-site request']
  return undefined
}

function answerData(
  path: string,
  query: URLSearchParams,
  response: ServerResponse,
  { runs, plans = [], live, metrics }: DashboardOptions,
  feed: LiveFeed,
): void {
  switch (path) {
    case '/api/runs': {
      const summaries = runs.map(run => run.summary()).filter(summary => summary !== undefined)
      answerJson(response, { live, runs: summaries, plans })
      break
    }
    case '/api/series':
      answerSeries(query, response, runs)
      break
    case '/api/live':
      response.setHeader('Content-Type', 'text/event-stream')
      feed.join(response)
      break
    case '/metrics':
      answer(response, 200, metrics?.text() ?? '', 'text/plain; version=0.0.4; charset=utf-8')
      break
    default:
      answer(response, 404, 'not found')
  }
}

function answerSeries(query: URLSearchParams, response: ServerResponse, runs: readonly RunHistory[]): void {
  const run = runs.find(({ info }) => info?.id === query.get('run'))
  if (run === undefined) {
    answer(response, 404, 'unknown run')
    return
  }
  const from = numberIn(query.get('from'), Number.NEGATIVE_INFINITY)
  const to = numberIn(query.get('to'), Number.POSITIVE_INFINITY)
  const limit = Math.min(MAX_POINTS, Math.max(2, numberIn(query.get('points'), DEFAULT_POINTS)))
  const axis = AXES.find(name => name === query.get('axis'))
  answerJson(response, run.series(query.get('metric') ?? '', { axis, from, to, limit }))
}

function numberIn(text: string | null, fallback: number): number {
  const value = Number(text ?? '')
  return text === null || text === '' || Number.isNaN(value) ? fallback : value
}

const answerJson = (response: ServerResponse, value: unknown): void =>
  answer(response, 200, JSON.stringify(value), 'application/json')

function answer(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.statusCode = status
  response.setHeader('Content-Type', type)
  response.end(body)
}
