/**
 * Files of data sets on the Hugging Face Hub. The first request resolves the revision to a commit; everything after that asks
 * for this commit, which never changes. Files are on a CDN, at signed addresses that expire and are then resolved again.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { formatOf } from '../source-format.js'
import { globMatcher, prefixOf } from './glob.js'
import { textOf } from './http-request.js'
import { commits, revisionName } from './hub-commits.js'
import { parseRemoteName, type RemoteName, withPath } from './remote-name.js'
import type { RemoteEntry, RemoteStore } from './remote-store.js'
import { checkRange, rangeHeader, sendToWeb, type WebAnswer, type WebRequest } from './web-request.js'

type HubName = RemoteName & { readonly kind: 'hub' }

const endpoint = (): string => (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '')

/** Signed addresses on the CDN, by the name and version of the file. */
const addresses = new Map<string, string>()

export const hubStore: RemoteStore = {
  async list(name) {
    const place = name as HubName
    const commit = await commitAt(place)
    const prefix = prefixOf(place.path)
    if (prefix !== place.path) {
      return filesIn(place, commit, prefix.slice(0, prefix.lastIndexOf('/') + 1), globMatcher(place.path))
    }
    const folder = place.path.replace(/\/+$/, '')
    const [found] = folder === '' ? [] : await infoOf(place, commit, folder)
    if (found?.type === 'file') return [entryOf(place, commit, found)]
    return filesIn(place, commit, folder, path => isVisible(path.slice(folder.length)) && formatOf(path) !== undefined)
  },

  async request(entry, from, to, signal) {
    const place = parseRemoteName(entry.name) as HubName
    const key = `${entry.name} ${entry.version}`
    const known = addresses.get(key)
    const headers = rangeHeader(from, to)
    if (known !== undefined) {
      const { response } = await sendToWeb({ name: entry.name, url: known, headers }, signal)
      if (response.status === 206) return response
      // The address has expired.
      response.body.destroy()
      addresses.delete(key)
    }
    const [commit] = entry.version.split(':')
    const url = `${endpoint()}/datasets/${place.dataset}/resolve/${commit}/${encodedPath(place.path)}`
    const { response, url: final } = await sendToWeb({ name: entry.name, url, headers, token: token() }, signal)
    if (response.status === 401 || response.status === 403 || response.status === 404) {
      throw await refusal(place, response)
    }
    checkRange(entry, response)
    if (new URL(final).origin !== new URL(url).origin) addresses.set(key, final)
    return response
  },
}

const isVisible = (path: string): boolean => !path.split('/').some(part => part.startsWith('.'))
const encodedPath = (path: string): string => path.split('/').map(encodeURIComponent).join('/')

/** The token of the environment, or of `hf auth login`. */
function token(): string | undefined {
  const { HF_TOKEN, HF_TOKEN_PATH, HF_HOME } = process.env
  if (HF_TOKEN) return HF_TOKEN
  const home = HF_HOME || join(homedir(), '.cache', 'huggingface')
  try {
    return readFileSync(HF_TOKEN_PATH || join(home, 'token'), 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}

async function commitAt(place: HubName): Promise<string> {
  const known = commits.get(revisionName(place))
  if (known !== undefined) return known
  const found = await ask(place, `revision/${encodeURIComponent(place.revision)}`, z.object({ sha: z.string() }))
  commits.set(revisionName(place), found.value.sha)
  return found.value.sha
}

const infoSchema = z.object({
  type: z.string(),
  path: z.string(),
  size: z.number().optional(),
  oid: z.string().optional(),
  lfs: z.object({ oid: z.string(), size: z.number() }).partial().optional(),
})
type FileInfo = z.output<typeof infoSchema>

function infoOf(place: HubName, commit: string, path: string): Promise<FileInfo[]> {
  const request = { method: 'POST', body: JSON.stringify({ paths: [path], expand: false }) }
  return ask(place, `paths-info/${commit}`, z.array(infoSchema), request).then(({ value }) => value)
}

async function filesIn(
  place: HubName,
  commit: string,
  folder: string,
  isWanted: (path: string) => boolean,
): Promise<RemoteEntry[]> {
  const entries: RemoteEntry[] = []
  const path = folder === '' ? '' : `/${encodedPath(folder.replace(/\/+$/, ''))}`
  let page: string | undefined = `tree/${commit}${path}?recursive=true&expand=false`
  while (page !== undefined) {
    const { value, next }: { value: FileInfo[]; next: string | undefined } = await ask(place, page, z.array(infoSchema))
    for (const info of value) {
      if (info.type === 'file' && isWanted(info.path)) entries.push(entryOf(place, commit, info))
    }
    page = next
  }
  return entries
}

const entryOf = (place: HubName, commit: string, { path, size, oid, lfs }: FileInfo): RemoteEntry => ({
  name: withPath(place, path),
  size: lfs?.size ?? size ?? 0,
  version: `${commit}:${lfs?.oid ?? oid ?? ''}`,
})

/** @param page below `/api/datasets/ORG/SET`, or a whole address of the same host */
async function ask<Schema extends z.ZodType>(
  place: HubName,
  page: string,
  schema: Schema,
  more: Pick<WebRequest, 'method' | 'body'> = {},
): Promise<{ value: z.output<Schema>; next: string | undefined }> {
  const url = page.startsWith('http') ? page : `${endpoint()}/api/datasets/${place.dataset}/${page}`
  const headers = more.body === undefined ? {} : { 'content-type': 'application/json' }
  const { response } = await sendToWeb({ name: place.name, url, headers, token: token(), ...more })
  if (response.status !== 200) throw await refusal(place, response)
  const [, next] = /<([^>]+)>;\s*rel="next"/.exec(response.header('link') ?? '') ?? []
  const parsed = schema.safeParse(jsonOf(await textOf(response)))
  if (!parsed.success) {
    throw new PenstockError('FILE_UNREADABLE', 'the Hub gave an unexpected answer', { file: place.name }, parsed.error)
  }
  // Another host must not get the token.
  const isOwnHost = next !== undefined && new URL(next).origin === new URL(url).origin
  return { value: parsed.data, next: isOwnHost ? next : undefined }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function refusal({ name, dataset, revision }: HubName, response: WebAnswer['response']): Promise<PenstockError> {
  const { status } = response
  const code = response.header('x-error-code')
  response.body.destroy()
  const where = { file: name }
  if (code === 'EntryNotFound') return new PenstockError('FILE_MISSING', 'no such file in the data set', where)
  if (code === 'RevisionNotFound') return new PenstockError('FILE_MISSING', `no revision ${revision}`, where)
  if (code === 'GatedRepo' || status === 403) {
    const message = `the data set is gated: accept its conditions at ${endpoint()}/datasets/${dataset} and set HF_TOKEN to a token of that account`
    return new PenstockError('FILE_UNREADABLE', message, where)
  }
  if (status === 401 || code === 'RepoNotFound') {
    const access = token() === undefined ? 'set HF_TOKEN' : 'check the token in HF_TOKEN'
    const message = `no such data set, or it is private or gated: ${access} (HTTP status ${status})`
    return new PenstockError(status === 404 ? 'FILE_MISSING' : 'FILE_UNREADABLE', message, where)
  }
  if (status === 404) return new PenstockError('FILE_MISSING', 'no such data set or file', where)
  return new PenstockError('FILE_UNREADABLE', `the Hub refused the request (HTTP status ${status})`, where)
}
