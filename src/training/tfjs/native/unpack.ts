/** Extracts selected entries of a ZIP file as streams: an entry may be larger than memory. */
import { createReadStream, createWriteStream } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createInflateRaw } from 'node:zlib'
import { readFully } from '../../../files/read-at.js'
import {
  bytesBeforeData,
  findZipDirectory,
  localHeaderBytes,
  readZipDirectory,
  type ZipEntry,
  zipTailBytes,
} from '../../../formats/archives/zip.js'

/**
 * @param place returns the path for an entry; undefined skips it
 * @throws FILE_UNREADABLE
 */
export async function unpackZip(file: string, place: (name: string) => string | undefined): Promise<void> {
  const handle = await open(file)
  try {
    for (const entry of await entriesOf(handle, file)) {
      const path = place(entry.name)
      if (path !== undefined) {
        await mkdir(dirname(path), { recursive: true })
        await writeEntry(handle, file, entry, path)
      }
    }
  } finally {
    await handle.close()
  }
}

/** Text of a small entry; empty when there is none. */
export async function readZipText(file: string, matches: (name: string) => boolean): Promise<string> {
  const handle = await open(file)
  try {
    const entry = (await entriesOf(handle, file)).find(({ name }) => matches(name))
    const pieces: Buffer[] = []
    if (entry !== undefined) {
      const source = await openEntry(handle, file, entry)
      for await (const piece of entry.deflated ? source.pipe(createInflateRaw()) : source) {
        pieces.push(piece as Buffer)
      }
    }
    return Buffer.concat(pieces).toString('utf8')
  } finally {
    await handle.close()
  }
}

async function entriesOf(handle: FileHandle, file: string): Promise<ZipEntry[]> {
  const { size } = await handle.stat()
  const tailBytes = Math.min(size, zipTailBytes)
  const { byteOffset, bytes } = findZipDirectory(await readPart(file, handle, size - tailBytes, tailBytes))
  return readZipDirectory(await readPart(file, handle, byteOffset, bytes))
}

async function openEntry(handle: FileHandle, file: string, entry: ZipEntry) {
  const header = await readPart(file, handle, entry.byteOffset, localHeaderBytes)
  const start = entry.byteOffset + bytesBeforeData(header)
  return createReadStream(file, { start, end: start + entry.packedBytes - 1 })
}

async function writeEntry(handle: FileHandle, file: string, entry: ZipEntry, path: string): Promise<void> {
  const source = await openEntry(handle, file, entry)
  const target = createWriteStream(path)
  await (entry.deflated ? pipeline(source, createInflateRaw(), target) : pipeline(source, target))
}

async function readPart(path: string, handle: FileHandle, position: number, bytes: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(bytes)
  return buffer.subarray(0, await readFully({ path, handle }, buffer, position))
}
