/** Files in S3-compatible object stores. */
import { PenstockError } from '../../errors.js'
import { formatOf } from '../source-format.js'
import { globMatcher, prefixOf } from './glob.js'
import { textOf } from './http-request.js'
import { parseRemoteName, type RemoteName, withPath } from './remote-name.js'
import type { RemoteEntry, RemoteStore } from './remote-store.js'
import { sendToS3 } from './s3-request.js'

type S3Name = RemoteName & { readonly kind: 's3' }

export const s3Store: RemoteStore = {
  async list(name) {
    const place = name as S3Name
    const prefix = prefixOf(place.key)
    if (prefix !== place.key) return listed(place, prefix, globMatcher(place.key))
    const isFolder = place.key === '' || place.key.endsWith('/')
    const entry = isFolder ? undefined : await statObject(place.name)
    if (entry !== undefined) return [entry]
    const folder = isFolder ? place.key : `${place.key}/`
    return listed(place, folder, key => isVisible(key.slice(folder.length)) && formatOf(key) !== undefined)
  },

  async request(entry, from, to, signal) {
    const { bucket, key } = parseRemoteName(entry.name) as S3Name
    const headers = { range: `bytes=${from}-${to - 1}`, 'if-match': entry.version }
    const response = await sendToS3({ name: entry.name, bucket, key, headers }, [416], signal)
    if (response.status === 206) return response
    response.body.destroy()
    throw new PenstockError('FILE_CHANGED', 'the object was replaced while it was read', { file: entry.name })
  },
}

const isVisible = (path: string): boolean => !path.split('/').some(part => part.startsWith('.'))

/** Undefined for a missing object. @throws FILE_MISSING for a missing bucket, FILE_UNREADABLE */
export async function statObject(name: string): Promise<RemoteEntry | undefined> {
  const { bucket, key } = parseRemoteName(name) as S3Name
  // Not HEAD, whose errors have no body and so no reason.
  const request = { name, bucket, key, headers: { range: 'bytes=0-0' } }
  const response = await sendToS3(request, [404, 416])
  const text = await textOf(response)
  if (response.status === 404 && text.includes('<Code>NoSuchBucket</Code>')) await sendToS3(request)
  if (response.status === 404) return undefined
  // An empty object has no first byte: some stores send all of it, some an error.
  const size = Number(/\/(\d+)$/.exec(response.header('content-range') ?? '')?.[1] ?? 0)
  return { name, size, version: response.header('etag') ?? '' }
}

/** All objects whose names begin with a name, of any format. @throws FILE_MISSING for a missing bucket, FILE_UNREADABLE */
export function listObjects(prefix: string): Promise<readonly RemoteEntry[]> {
  const place = parseRemoteName(prefix) as S3Name
  return listed(place, place.key, () => true)
}

/** Removes an object if it exists. @throws FILE_MISSING for a missing bucket, FILE_UNREADABLE */
export async function removeObject(name: string): Promise<void> {
  const { bucket, key } = parseRemoteName(name) as S3Name
  await textOf(await sendToS3({ name, bucket, key, method: 'DELETE' }))
}

async function listed(place: S3Name, prefix: string, isWanted: (key: string) => boolean): Promise<RemoteEntry[]> {
  const { name, bucket } = place
  const entries: RemoteEntry[] = []
  let token: string | undefined
  do {
    const query = {
      'list-type': '2',
      'encoding-type': 'url',
      prefix,
      ...(token === undefined ? {} : { 'continuation-token': token }),
    }
    const text = await textOf(await sendToS3({ name, bucket, query }))
    const isEncoded = elementOf(text, 'EncodingType') === 'url'
    for (const [, object] of text.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
      const written = elementOf(object!, 'Key') ?? ''
      const key = isEncoded ? decodeURIComponent(written.replaceAll('+', ' ')) : written
      if (!isWanted(key)) continue
      entries.push({
        name: withPath(place, key),
        size: Number(elementOf(object!, 'Size')),
        version: elementOf(object!, 'ETag') ?? '',
      })
    }
    token = elementOf(text, 'NextContinuationToken')
  } while (token !== undefined && token !== '')
  return entries
}

function elementOf(xml: string, element: string): string | undefined {
  const [, text] = new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml) ?? []
  return text?.replace(/&(lt|gt|quot|apos|amp|#\d+|#x[0-9a-f]+);/gi, (_, entity: string) => {
    if (entity.startsWith('#')) return String.fromCodePoint(Number(entity.replace(/^#x/i, '0x').replace('#', '')))
    return { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }[entity.toLowerCase()]!
  })
}
