/**
 * Expands source names into files: files, folders, glob patterns, `@list` files, and any mix of them. Folders are searched
 * recursively for files of known formats; hidden files are ignored. Names of remote files have to be located first.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { PenstockError, toPenstockError } from '../errors.js'
import { isRemote } from './remote/remote-name.js'
import { knownRemoteEntry, knownRemoteFiles, locateRemote } from './remote/remote-sources.js'
import { requireLocal } from './source-file.js'
import { endingOf, formatOf } from './source-format.js'

export type SourceOrder = 'name' | 'given'

const MAX_LIST_DEPTH = 8

/**
 * @param order `name` sorts all files by the bytes of their paths; `given` keeps the order of the names and sorts only the
 * files of each name
 * @returns each file once
 * @throws FILE_MISSING for a name, pattern or folder without a single file; FILE_UNREADABLE
 */
export function listSources(names: readonly string[], order: SourceOrder = 'name'): readonly string[] {
  // By absolute path: `a.jsonl`, `./a.jsonl` and its folder name the same file.
  const files = new Map<string, string>()
  for (const name of names) {
    for (const file of filesOf(name, 0, TEXTS)) {
      const path = absoluteSource(file)
      if (!files.has(path)) files.set(path, file)
    }
  }
  return order === 'given' ? [...files.values()] : sortedByBytes([...files.values()])
}

/**
 * The packed files that files, folders, glob patterns and `@list` files name, in the order of the names, those of one name
 * sorted by the bytes of their paths. A file that is named twice is there twice.
 * @throws FILE_MISSING for a name, pattern or folder without a single file; FILE_UNREADABLE; UNSUPPORTED for a remote file
 */
export function listPackedFiles(names: readonly string[]): readonly string[] {
  return names.flatMap(name => filesOf(name, 0, PACKED))
}

/** Files that a folder is searched for. */
interface FileKind {
  readonly includes: (name: string) => boolean
  readonly name: string
  readonly isLocal: boolean
}
const TEXTS: FileKind = {
  includes: name => formatOf(name) !== undefined,
  name: 'files of a known format',
  isLocal: false,
}
const PACKED: FileKind = { includes: name => name.endsWith('.pbin'), name: 'packed files (.pbin)', isLocal: true }

/** Listings by the array of names, and its order. */
const listings = new WeakMap<readonly string[], { readonly order: SourceOrder; readonly files: readonly string[] }>()

/**
 * `listSources` for the options of a checked definition, which are listed once: a check, the resumption and the run see the
 * same files. @throws as `listSources`
 */
export function listOnce(names: readonly string[], order: SourceOrder = 'name'): readonly string[] {
  const known = listed(names, order)
  if (known !== undefined) return known
  const files = listSources(names, order)
  // A remote folder or pattern that was not looked up yet is returned as it is.
  if (!files.some(file => isRemote(file) && knownRemoteEntry(file) === undefined)) listings.set(names, { order, files })
  return files
}

/** What `listOnce` found for this very array before. */
export function listed(names: readonly string[], order: SourceOrder = 'name'): readonly string[] | undefined {
  const known = listings.get(names)
  return known?.order === order ? known.files : undefined
}

/**
 * Looks up the remote files among the sources, so that `listSources` finds them.
 * @throws FILE_MISSING, FILE_UNREADABLE, ARGUMENT_INVALID
 */
export async function locateSources(names: readonly string[]): Promise<void> {
  const remote = new Set<string>()
  for (const name of names) collectRemote(name, 0, remote)
  for (const name of remote) await locateRemote(name)
}

/** A name that means the same file in any working directory. */
export const absoluteSource = (path: string): string => (isRemote(path) ? path : resolve(path))

/** In bytes; undefined for a missing file, for anything but a file, and for a remote file that was not looked up. */
export function sourceSize(path: string): number | undefined {
  if (isRemote(path)) return knownRemoteEntry(path)?.size
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats?.isFile() ? stats.size : undefined
}

function collectRemote(name: string, depth: number, found: Set<string>): void {
  if (isRemote(name)) found.add(name)
  else if (name.startsWith('@') && depth < MAX_LIST_DEPTH && isFile(name.slice(1))) {
    for (const inner of namesIn(name.slice(1))) collectRemote(inner, depth + 1, found)
  }
}

function filesOf(name: string, depth: number, kind: FileKind): readonly string[] {
  if (kind.isLocal) requireLocal(name)
  if (isRemote(name)) return knownRemoteFiles(name)
  const stats = statSync(name, { throwIfNoEntry: false })
  // A file whose name looks like a pattern or a list is that file.
  if (stats?.isDirectory()) return filesIn(name, kind)
  if (stats !== undefined) return [name]
  if (name.startsWith('@')) return filesOfList(name.slice(1), depth, kind)
  if (isPattern(name)) return filesMatching(name)
  throw new PenstockError('FILE_MISSING', 'no such file or folder', { file: name })
}

/** Links to files are followed, links to folders are not: they may lead in circles. */
function filesIn(folder: string, kind: FileKind): readonly string[] {
  const files: string[] = []
  const others = new Map<string, number>()
  const walk = (path: string): void => {
    for (const entry of readable(path, () => readdirSync(path, { withFileTypes: true }))) {
      if (entry.name.startsWith('.')) continue
      const inner = join(path, entry.name)
      if (entry.isDirectory()) walk(inner)
      else if (entry.isFile() || (entry.isSymbolicLink() && isFile(inner))) {
        if (kind.includes(entry.name)) files.push(namedInUtf8(inner))
        else others.set(endingOf(entry.name), (others.get(endingOf(entry.name)) ?? 0) + 1)
      }
    }
  }
  walk(folder)
  if (files.length > 0) return sortedByBytes(files)
  throw new PenstockError('FILE_MISSING', `the folder has no ${kind.name}${endingsText(others)}`, {
    file: folder,
  })
}

function endingsText(endings: ReadonlyMap<string, number>): string {
  const most = [...endings].toSorted(([, a], [, b]) => b - a).slice(0, 4)
  const parts = most.map(([ending, count]) => `${count} ${ending === '' ? 'without an extension' : `.${ending}`}`)
  return parts.length === 0 ? '' : `; it has ${parts.join(', ')}`
}

/** Node replaces bytes of a name that are not UTF-8, so the file cannot be opened. @throws FILE_UNREADABLE */
function namedInUtf8(path: string): string {
  if (!path.includes('\ufffd') || existsSync(path)) return path
  throw new PenstockError('FILE_UNREADABLE', 'the name of the file is not valid UTF-8: rename it', { file: path })
}

function filesMatching(pattern: string): readonly string[] {
  // Loaded only here: most runs name their files.
  const { globSync } = createRequire(import.meta.url)('tinyglobby') as typeof import('tinyglobby')
  const files = globSync(pattern.replaceAll('\\', '/'), {
    absolute: pattern.startsWith('/'),
    expandDirectories: false,
  })
  if (files.length > 0) return sortedByBytes(files)
  throw new PenstockError('FILE_MISSING', 'no file matches the pattern', { file: pattern })
}

/** One name per line; empty lines and comments (#) are ignored. Names are relative to the working directory. */
function filesOfList(list: string, depth: number, kind: FileKind): readonly string[] {
  if (depth >= MAX_LIST_DEPTH) {
    throw new PenstockError('ARGUMENT_INVALID', `lists refer to each other more than ${MAX_LIST_DEPTH} levels deep`, {
      file: list,
    })
  }
  const names = namesIn(list)
  if (names.length === 0) throw new PenstockError('FILE_MISSING', 'the list names no files', { file: list })
  const files: string[] = []
  for (const name of names) for (const file of filesOf(name, depth + 1, kind)) files.push(file)
  return files
}

function namesIn(list: string): string[] {
  const text = readable(list, () => readFileSync(list, 'utf8'))
  return text.split(/\r?\n/).filter(line => line !== '' && !line.startsWith('#'))
}

function readable<Value>(file: string, read: () => Value): Value {
  try {
    return read()
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    if (isMissing) throw new PenstockError('FILE_MISSING', 'no such file or folder', { file }, error)
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  }
}

const isPattern = (name: string): boolean => /[*?[{]/.test(name)
const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true

/** As `LC_ALL=C sort` does. That is the order of UTF-16 code units, except for names with surrogates. */
function sortedByBytes(files: string[]): string[] {
  if (!files.some(file => /[\ud800-\udfff]/.test(file))) return files.sort()
  return files.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}
