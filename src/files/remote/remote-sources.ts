/**
 * The remote files that this process knows. Names are looked up once, before a run, so that a run reads the same version of
 * every file from its beginning to its end, and so that code that lists sources need not wait for the network.
 */
import { PenstockError } from '../../errors.js'
import { commits, revisionName } from './hub-commits.js'
import type { RemoteFile } from './remote-file.js'
import { isRemote, parseRemoteName } from './remote-name.js'
import type { RemoteEntry, RemoteStore } from './remote-store.js'

/** By the name that was looked up. */
const listings = new Map<string, Promise<readonly RemoteEntry[]>>()
const listedNames = new Map<string, readonly string[]>()
/** By file. */
const entries = new Map<string, RemoteEntry>()

const STORES = {
  s3: async () => (await import('./s3-store.js')).s3Store,
  hub: async () => (await import('./hub-store.js')).hubStore,
  https: async () => (await import('./https-store.js')).httpsStore,
}

async function storeOf(name: string): Promise<RemoteStore> {
  const { kind } = parseRemoteName(name)
  return STORES[kind]()
}

/** Looks a name up unless it is known. @throws FILE_MISSING, FILE_UNREADABLE, ARGUMENT_INVALID */
export async function locateRemote(name: string): Promise<readonly RemoteEntry[]> {
  const known = entries.get(name)
  if (known !== undefined) return [known]
  const listing = listings.get(name) ?? lookUp(name)
  listings.set(name, listing)
  listing.catch(() => listings.delete(name))
  return listing
}

async function lookUp(name: string): Promise<readonly RemoteEntry[]> {
  const place = parseRemoteName(name)
  const found = await (await storeOf(name)).list(place)
  if (found.length === 0) {
    const message = /[*?[{]/.test(name)
      ? 'no file matches the pattern'
      : 'no such file, and no folder with files of a known format'
    throw new PenstockError('FILE_MISSING', message, { file: name })
  }
  for (const entry of found) entries.set(entry.name, entry)
  listedNames.set(
    name,
    found.map(entry => entry.name),
  )
  return found
}

/** `locateRemote` for a name that has to be that of a file. @throws FILE_MISSING, FILE_UNREADABLE */
export async function locateRemoteFile(name: string): Promise<RemoteEntry> {
  const [found] = await locateRemote(name)
  if (found!.name === name) return found!
  throw new PenstockError('FILE_UNREADABLE', 'expected a file, found a folder', { file: name })
}

/** The revisions of data sets that files belong to, and their commits. */
export function pinnedRevisions(files: readonly string[]): [revision: string, commit: string][] {
  const revisions = new Set(files.filter(isRemote).map(revisionOf))
  return [...commits].filter(([revision]) => revisions.has(revision)).sort()
}

/** Pins a revision to the commit that an earlier run has seen, for sources that are located from now on. */
export function pinRevision(revision: string, commit: string): void {
  if (commits.get(revision) === commit) return
  commits.set(revision, commit)
  for (const known of [listings, listedNames, entries]) {
    for (const name of known.keys()) if (revisionOf(name) === revision) known.delete(name)
  }
}

function revisionOf(name: string): string | undefined {
  const place = parseRemoteName(name)
  return place.kind === 'hub' ? revisionName(place) : undefined
}

/** The files that a name refers to; a name that was not looked up refers to itself. */
export function knownRemoteFiles(name: string): readonly string[] {
  return listedNames.get(name) ?? [name]
}

/** Undefined for a file that was not looked up. */
export const knownRemoteEntry = (name: string): RemoteEntry | undefined => entries.get(name)

/**
 * Opens a remote file.
 * @param entry of a worker, which has not looked the file up itself
 * @throws FILE_MISSING, FILE_UNREADABLE
 */
export async function openRemote(name: string, signal?: AbortSignal, entry?: RemoteEntry): Promise<RemoteFile> {
  const found = entry ?? (await locateRemoteFile(name))
  const remoteFile = await import('./remote-file.js')
  return new remoteFile.RemoteFile(await storeOf(name), found, signal)
}
