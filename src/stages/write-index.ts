/**
 * Lines -> the raw index of their file, `.idx`: byte offset and length of each, byte for byte what the reference system
 * writes. Memory does not grow with the number of lines. Whole or absent, with a manifest beside it.
 */
import * as z from 'zod'
import type { LineBatch } from '../formats/batches.js'
import { BlockChecksums } from '../formats/checksum.js'
import { IndexWriter } from '../formats/idx.js'
import { writeIndexManifest } from './manifest.js'
import { ifExistsOption, type OutputFile, writeWhole } from './output-file.js'
import { openSource } from './read-file.js'
import { identifySource, type SourceIdentity } from './source-identity.js'
import { type SinkStage, sink } from './stage.js'

export const writeIndexOptions = z.strictObject({
  path: z.string().min(1).describe('the .idx file to write'),
  if_exists: ifExistsOption,
})
export type WriteIndexOptions = z.input<typeof writeIndexOptions>

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE */
export function writeIndex(options: WriteIndexOptions): SinkStage<LineBatch> {
  const { path, if_exists } = writeIndexOptions.parse(options)
  return sink('write-index', input => writeWhole(path, if_exists, file => writeEntries(input, file)))
}

async function writeEntries(input: AsyncIterable<LineBatch>, file: OutputFile): Promise<void> {
  const writer = new IndexWriter()
  const checksums = new BlockChecksums()
  const write = async (pieces: Iterable<Uint8Array>): Promise<void> => {
    for (const piece of pieces) {
      checksums.update(piece)
      await file.write(piece)
    }
  }
  let records = 0
  let last: LineBatch | undefined
  for await (const batch of input) {
    const { byteOffset, starts, ends } = batch
    for (let line = 0; line < starts.length; line++) {
      writer.push(byteOffset + starts[line]!, ends[line]! - starts[line]!)
    }
    await write(writer.take())
    records += starts.length
    last = batch
  }
  await write(writer.finish())
  const source = await sourceOf(last)
  await writeIndexManifest(file.path, {
    version: 1,
    fileBytes: file.size,
    checksums: [...checksums.finish()],
    records,
    ...(source === undefined ? {} : { source }),
  })
}

/** The file that the lines came from, where its bytes are the ones that the index counts. */
async function sourceOf(last: LineBatch | undefined): Promise<SourceIdentity | undefined> {
  if (last === undefined || last.source === '-' || last.starts.length === 0) return undefined
  const { handle, stats } = await openSource(last.source)
  try {
    const end = last.byteOffset + last.ends.at(-1)!
    const isCovered = stats.isFile() && end <= stats.size && stats.size <= end + 1
    return isCovered ? await identifySource(handle, stats.size) : undefined
  } finally {
    await handle.close()
  }
}
