/**
 * A stand-in for the Hugging Face Hub: the requests of its clients for data sets, with a CDN on another port whose addresses
 * are signed and expire. `hub.test.ts` checks with the Python client that it behaves like the Hub.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const SIGNATURE = 'secret-signature-of-an-address'

export interface HubServer {
  readonly endpoint: string
  /** Address of a web server with the files below `/plain`, and without range requests below `/whole`. */
  readonly web: string
  readonly counts: { expired: number }
  /** Authorization headers that the CDN got, which should be none. */
  readonly leaked: string[]
  /** Requests that a signed address is good for. */
  usesOfAddress: number
  /** While set, downloads beyond so many bytes wait. */
  blockAfterBytes: number | undefined
  /** Adds a commit that consists of these files; returns its id. */
  push(dataset: string, files: Readonly<Record<string, Buffer>>): string
  /** Demands a token for a data set. */
  gate(dataset: string, token: string): void
  stop(): Promise<void>
}

interface DataSet {
  readonly commits: Map<string, Readonly<Record<string, Buffer>>>
  head: string
  token?: string
}

const PAGE = 2
const sha = (bytes: Buffer | string, length = 64): string =>
  createHash('sha256').update(bytes).digest('hex').slice(0, length)

export async function startHub(): Promise<HubServer> {
  const sets = new Map<string, DataSet>()
  const uses = new Map<string, number>()
  let address = 0
  const hub: { -readonly [Key in keyof HubServer]: HubServer[Key] } = {
    endpoint: '',
    web: '',
    counts: { expired: 0 },
    leaked: [],
    usesOfAddress: 1000,
    blockAfterBytes: undefined,
    push(dataset, files) {
      const set = sets.get(dataset) ?? { commits: new Map(), head: '' }
      const commit = sha(`${dataset} ${set.commits.size}`, 40)
      set.commits.set(commit, files)
      set.head = commit
      sets.set(dataset, set)
      return commit
    },
    gate(dataset, token) {
      sets.get(dataset)!.token = token
    },
    stop: async () => {
      for (const server of [api, cdn]) {
        server.closeAllConnections()
        await new Promise(resolve => server.close(resolve))
      }
    },
  }

  const api = createServer((request, response) => {
    const url = new URL(request.url!, hub.endpoint)
    const match = /^\/(api\/)?datasets\/([^/]+\/[^/]+)\/?(.*)$/.exec(decodeURIComponent(url.pathname))
    const [, isApi, dataset = '', rest = ''] = match ?? []
    const set = sets.get(dataset)
    if (set === undefined) return fail(response, 404, 'RepoNotFound')
    if (set.token !== undefined && request.headers.authorization !== `Bearer ${set.token}`) {
      return request.headers.authorization === undefined
        ? fail(response, 401, 'GatedRepo')
        : fail(response, 403, 'GatedRepo')
    }
    const [action = '', name = '', ...path] = rest.split('/')
    const commit = action === '' || name === 'main' ? set.head : name
    const files = set.commits.get(commit)
    if (files === undefined) return fail(response, 404, 'RevisionNotFound')
    if (isApi === undefined) return resolve(dataset, commit, path.join('/'), files, request, response)
    if (action === 'paths-info') return pathsInfo(files, request, response)
    if (action === 'tree') return tree(files, path.join('/'), url, response)
    const siblings = Object.keys(files).map(rfilename => ({ rfilename }))
    const facts = { private: false, gated: false, tags: [], lastModified: '2026-11-01T00:00:00.000Z' }
    json(response, { id: dataset, sha: commit, siblings, ...facts })
  })

  function tree(files: Readonly<Record<string, Buffer>>, folder: string, url: URL, response: ServerResponse): void {
    const isRecursive = url.searchParams.get('recursive')?.toLowerCase() === 'true'
    const prefix = folder === '' ? '' : `${folder}/`
    const below = Object.keys(files).filter(path => path.startsWith(prefix))
    if (below.length === 0) {
      fail(response, 404, 'EntryNotFound')
      return
    }
    const folders = new Set(
      below
        .filter(path => path.slice(prefix.length).includes('/'))
        .map(path => prefix + path.slice(prefix.length).split('/')[0]),
    )
    const entries = [
      ...[...folders].map(path => ({ type: 'directory', path, size: 0, oid: sha(path, 40) })),
      ...below
        .filter(path => isRecursive || !path.slice(prefix.length).includes('/'))
        .map(path => infoOf(path, files[path]!)),
    ]
    const from = Number(url.searchParams.get('cursor') ?? 0)
    if (from + PAGE < entries.length) {
      url.searchParams.set('cursor', `${from + PAGE}`)
      response.setHeader('link', `<${url.href}>; rel="next"`)
    }
    json(response, entries.slice(from, from + PAGE))
  }

  /** Small files are answered directly, those in large file storage by a redirect to the CDN. */
  function resolve(
    dataset: string,
    commit: string,
    path: string,
    files: Readonly<Record<string, Buffer>>,
    request: IncomingMessage,
    response: ServerResponse,
  ): unknown {
    const bytes = files[path]
    if (bytes === undefined) return fail(response, 404, 'EntryNotFound')
    response.setHeader('x-repo-commit', commit)
    response.setHeader('accept-ranges', 'bytes')
    if (!isLarge(bytes)) return send(bytes, request, response)
    const target = `/${dataset}/${commit}/${encodeURIComponent(path)}?signature=${SIGNATURE}&address=${++address}`
    response.setHeader('x-linked-size', bytes.length)
    response.setHeader('x-linked-etag', `"${sha(bytes)}"`)
    response.setHeader('etag', `"${sha(bytes)}"`)
    response.writeHead(302, { location: hub.web + target, 'content-length': 0 }).end()
  }

  const cdn = createServer((request, response) => {
    if (request.headers.authorization !== undefined) hub.leaked.push(request.headers.authorization)
    const url = new URL(request.url!, hub.web)
    const [, kind, set, commit, path = ''] =
      /^\/(plain\/|whole\/|moved\/)?([^/]+\/[^/]+)\/([^/]+)\/(.*)$/.exec(decodeURIComponent(url.pathname)) ?? []
    const dataset = sets.get(set ?? '')
    const bytes = dataset?.commits.get(commit === 'head' ? dataset.head : commit!)?.[path]
    if (bytes === undefined) return fail(response, 404, 'EntryNotFound')
    if (kind === 'moved/') return response.writeHead(301, { location: url.pathname.replace('moved', 'plain') }).end()
    if (kind === 'whole/') return response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    if (kind === undefined) {
      const number = url.searchParams.get('address')!
      const used = (uses.get(number) ?? 0) + 1
      uses.set(number, used)
      if (used > hub.usesOfAddress || url.searchParams.get('signature') !== SIGNATURE) {
        hub.counts.expired++
        return fail(response, 403, 'AccessDenied')
      }
    }
    send(bytes, request, response)
  })

  function send(bytes: Buffer, request: IncomingMessage, response: ServerResponse): unknown {
    response.setHeader('etag', `"${sha(bytes)}"`)
    response.setHeader('accept-ranges', 'bytes')
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    if (from === undefined) return response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    const end = Math.min(bytes.length, to === '' ? bytes.length : Number(to) + 1)
    if (Number(from) >= end) return response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
    const body = bytes.subarray(Number(from), end)
    // An answer that never comes, until the client is gone.
    if (hub.blockAfterBytes !== undefined && end > hub.blockAfterBytes) return
    response.writeHead(206, {
      'content-length': body.length,
      'content-range': `bytes ${from}-${end - 1}/${bytes.length}`,
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }

  hub.endpoint = await listening(api)
  hub.web = await listening(cdn)
  return hub
}

const isLarge = (bytes: Buffer): boolean => bytes.length > 100

function infoOf(path: string, bytes: Buffer) {
  const lfs = isLarge(bytes) ? { lfs: { oid: sha(bytes), size: bytes.length, pointerSize: 130 } } : {}
  return { type: 'file', path, size: bytes.length, oid: sha(bytes, 40), ...lfs }
}

async function pathsInfo(
  files: Readonly<Record<string, Buffer>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  const paths: string[] = text.startsWith('{')
    ? [JSON.parse(text).paths].flat()
    : new URLSearchParams(text).getAll('paths')
  const found = paths.flatMap(path => {
    if (files[path] !== undefined) return [infoOf(path, files[path])]
    const isFolder = Object.keys(files).some(file => file.startsWith(`${path}/`))
    return isFolder ? [{ type: 'directory', path, size: 0, oid: sha(path, 40) }] : []
  })
  json(response, found)
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'x-error-code': code, 'content-type': 'application/json' })
  response.end(JSON.stringify({ error: code }))
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
