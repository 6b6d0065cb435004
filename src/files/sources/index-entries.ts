/** Entries of an index of lines, `.idx`, as a stream. */
import { createIndexReader } from '../../formats/idx.js'
import { readAt } from '../read-at.js'
import { closeSource, openSource } from '../source-file.js'

const CHUNK_BYTES = 256 << 10

/** Yields [offset, length, ...] in blocks. @throws PICKLE_INVALID, IDX_INVALID, FILE_MISSING, FILE_UNREADABLE */
export async function* indexEntries(path: string): AsyncGenerator<readonly number[], undefined> {
  const { handle } = await openSource(path)
  try {
    let entries: number[] = []
    const take = (pairs: Float64Array): void => {
      for (const value of pairs) entries.push(value)
    }
    const reader = createIndexReader(take, { where: { file: path } })
    const chunk = new Uint8Array(CHUNK_BYTES)
    for (;;) {
      const bytesRead = await readAt({ path, handle }, chunk, null)
      if (bytesRead === 0) break
      reader.feed(chunk.subarray(0, bytesRead))
      if (entries.length > 0) yield entries
      entries = []
    }
    reader.end()
    if (entries.length > 0) yield entries
  } finally {
    await closeSource(path, handle)
  }
}
