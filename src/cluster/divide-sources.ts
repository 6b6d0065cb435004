/**
 * Divides a list of files, read one after the other, into consecutive parts of about equal size. A part ends at the end
 * of a file, of a line of an uncompressed JSONL file, or of a row group of a Parquet file; compressed files and other
 * formats are not divided.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { PenstockError, toPenstockError } from '../errors.js'
import { readPackedManifest } from '../files/manifest.js'
import { openPackedFile } from '../files/packed-file.js'
import { ParquetFile } from '../files/parquet-file.js'
import { readFully } from '../files/read-at.js'
import { isRemote } from '../files/remote/remote-name.js'
import { isPackedName } from '../files/source-file.js'
import { formatOf } from '../files/source-format.js'

export interface SizedFile {
  readonly path: string
  readonly bytes: number
}

/** Files [first, last], from a position in the first one to a position in the last one. */
export interface Part {
  readonly first: number
  readonly last: number
  readonly from: number | undefined
  readonly to: number | undefined
  readonly bytes: number
}

/** A place between two parts, at a file boundary (`position` 0) or inside of a file. */
interface Cut {
  readonly file: number
  readonly position: number
  /** Bytes of all files before it; an estimate inside a Parquet file. */
  readonly at: number
}

/** A possible end of a part in a file: `byte` for balance, `position` for the reader. */
interface Place {
  readonly byte: number
  readonly position: number
}

const SEARCH_BYTES = 64 << 10
const LF = 0x0a

/** How files may be divided: every file as lines, by its format, or by the documents of a packed file. */
export type SourceKind = 'lines' | 'corpus' | 'packed'

/**
 * @param parts number of parts; fewer are returned where the files cannot be divided further
 * @throws FILE_MISSING, FILE_UNREADABLE, PARQUET_INVALID
 */
export async function divideSources(files: readonly SizedFile[], parts: number, kind: SourceKind): Promise<Part[]> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
  const targets = Array.from({ length: parts - 1 }, (_, index) => (total * (index + 1)) / parts)
  const cuts: Cut[] = [{ file: 0, position: 0, at: 0 }]
  let next = 0
  let start = 0
  for (const [file, { path, bytes }] of files.entries()) {
    const end = start + bytes
    const inside: number[] = []
    while (next < targets.length && targets[next]! < end) inside.push(targets[next++]! - start)
    for (const { byte, position } of await placesNear({ path, bytes }, inside, kind)) {
      const cut = position >= 0 ? { file, position, at: start + byte } : { file: file + 1, position: 0, at: end }
      const { file: before, position: earlier } = cuts.at(-1)!
      if (cut.file > before || cut.position > earlier) cuts.push(cut)
    }
    start = end
  }
  if (cuts.at(-1)!.file === files.length) cuts.pop()
  return cuts.map((cut, index) => partBetween(cut, cuts[index + 1] ?? { file: files.length, position: 0, at: total }))
}

function partBetween(from: Cut, to: Cut): Part {
  const isInside = to.position > 0
  return {
    first: from.file,
    last: isInside ? to.file : to.file - 1,
    from: from.position > 0 ? from.position : undefined,
    to: isInside ? to.position : undefined,
    bytes: to.at - from.at,
  }
}

/** The end of the file has position -1. */
const endOf = (bytes: number): Place => ({ byte: bytes, position: -1 })

/** Places in a file where parts can end, one near each target, in order. */
async function placesNear({ path, bytes }: SizedFile, targets: readonly number[], kind: SourceKind): Promise<Place[]> {
  if (targets.length === 0) return []
  if (kind === 'packed') return documentsNear(path, bytes, targets)
  if (kind === 'corpus' && formatOf(path) === 'parquet') return nearest(targets, await rowGroupsOf(path, bytes))
  const hasLines = kind === 'lines' || formatOf(path) === 'jsonl'
  if (hasLines && !isPackedName(path) && !isRemote(path)) return lineStarts(path, bytes, targets)
  return nearest(targets, [{ byte: 0, position: 0 }, endOf(bytes)])
}

/** @param places sorted by byte */
function nearest(targets: readonly number[], places: readonly Place[]): Place[] {
  let place = 0
  return targets.map(target => {
    while (
      place + 1 < places.length &&
      Math.abs(places[place + 1]!.byte - target) <= Math.abs(places[place]!.byte - target)
    ) {
      place++
    }
    return places[place]!
  })
}

/** The first row of each row group, and the share of the file that the groups before it take. */
async function rowGroupsOf(path: string, bytes: number): Promise<Place[]> {
  const file = await ParquetFile.open(path)
  try {
    let row = 0
    let before = 0
    const groups = file.rowGroups()
    const total = groups.reduce((sum, group) => sum + group.bytes, 0)
    const places = groups.map(group => {
      const place = { byte: (bytes * before) / Math.max(1, total), position: row }
      row += group.rows
      before += group.bytes
      return place
    })
    return [...places, endOf(bytes)]
  } finally {
    await file.close()
  }
}

/** The document near each target, as if all had the same size. @throws UNSUPPORTED without a manifest */
async function documentsNear(path: string, bytes: number, targets: readonly number[]): Promise<Place[]> {
  const documents = await documentsIn(path)
  return targets.map(target => {
    const position = Math.round((documents * target) / bytes)
    return position < documents ? { byte: target, position } : endOf(bytes)
  })
}

/** Number of documents of a packed file. @throws UNSUPPORTED without a manifest */
export async function documentsIn(path: string): Promise<number> {
  const file = await openPackedFile(path)
  try {
    const documents = (await readPackedManifest(path, file.header))?.documents
    if (documents !== undefined) return documents
    const message = 'the packed file has no manifest with its number of documents: rewrite it with penstock merge'
    throw new PenstockError('UNSUPPORTED', message, { file: path })
  } finally {
    await file.close()
  }
}

/** The first start of a line at or after each target. */
async function lineStarts(path: string, bytes: number, targets: readonly number[]): Promise<Place[]> {
  const handle = await open(path).catch(error => {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  })
  try {
    const places: Place[] = []
    for (const target of targets) {
      const position = await lineStartFrom({ path, handle }, Math.floor(target), bytes)
      places.push(position < bytes ? { byte: position, position } : endOf(bytes))
    }
    return places
  } finally {
    await handle.close()
  }
}

/** Offset of the first line that starts at or after `offset`; `bytes` if there is none. */
async function lineStartFrom(
  file: { readonly path: string; readonly handle: FileHandle },
  offset: number,
  bytes: number,
): Promise<number> {
  if (offset === 0) return 0
  const chunk = new Uint8Array(SEARCH_BYTES)
  for (let at = offset - 1; at < bytes; at += chunk.byteLength) {
    const read = await readFully(file, chunk, at)
    const feed = chunk.subarray(0, read).indexOf(LF)
    if (feed >= 0) return at + feed + 1
    if (read < chunk.byteLength) break
  }
  return bytes
}
