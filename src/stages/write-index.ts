/**
 * Lines -> a raw index (`.idx`): byte offset and length of each line, byte-identical to the index that Modalities
 * writes. Memory is constant. The index is written atomically, together with a manifest.
 */
import * as z from 'zod'
import { checkManifestPath, writeIndexManifest } from '../files/manifest.js'
import { ifExistsOption, type OutputFile, type OutputReservations, writeWhole } from '../files/output-file.js'
import { knownRemoteEntry } from '../files/remote/remote-sources.js'
import { closeSource, openSource } from '../files/source-file.js'
import { cachedFingerprint, type FileFingerprint, remoteFingerprint } from '../files/sources/file-fingerprint.js'
import type { LinePlaces } from '../formats/batches.js'
import { BlockChecksums, type ChecksumState } from '../formats/checksum.js'
import { IndexWriter } from '../formats/idx.js'
import type { PicklerState } from '../formats/pickle.js'
import { type SinkStage, sink } from './stream/stage.js'
import { defineStage, fileOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const writeIndexOptions = z.strictObject({
  path: z.string().min(1).describe('.idx file to write'),
  if_exists: ifExistsOption,
})
export type WriteIndexOptions = z.input<typeof writeIndexOptions>

export const writeIndexStage = defineStage({
  name: 'write-index',
  summary: 'writes the offset and length of each line to an .idx file',
  accepts: 'lines',
  options: writeIndexOptions,
  resumable: true,
  create: writeIndex,
  writes: fileOf,
})

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE */
export function writeIndex(options: WriteIndexOptions): SinkStage<LinePlaces> {
  const { path, if_exists } = parseOptions(writeIndexOptions, options, 'write-index')
  return sink(writeIndexStage, async (input, context) => {
    await checkManifestPath(path)
    const reservations = context.journal?.reservations
    return writeWhole(path, if_exists, file => writeEntries(input, file, reservations), reservations)
  })
}

/** Progress of the index. */
interface IndexProgress {
  readonly records: number
  /** End offset of the last line, and its file. */
  readonly end: number
  readonly source: string
}
interface IndexState extends IndexProgress {
  /** Without the current frame, which is stored as the file's tail. */
  readonly pickler: Omit<PicklerState, 'frame'>
  readonly checksums: ChecksumState
}

async function writeEntries(
  input: AsyncIterable<LinePlaces>,
  file: OutputFile,
  reservations: OutputReservations | undefined,
): Promise<void> {
  const resumed = file.resumedState as IndexState | undefined
  const writer = new IndexWriter(resumed && { ...resumed.pickler, frame: await file.resumedTail() })
  const checksums = new BlockChecksums(resumed?.checksums)
  const write = async (bytes: Uint8Array): Promise<void> => {
    checksums.update(bytes)
    await file.write(bytes)
  }
  let progress: IndexProgress = resumed ?? { records: 0, end: 0, source: '-' }
  for await (const batch of input) {
    const { byteOffset, starts, ends } = batch
    // The loop is in a separate function: optimizing this large one would take V8 as long as the whole run.
    writer.pushLines(byteOffset, starts, ends)
    if (starts.length > 0) {
      const records = progress.records + starts.length
      progress = { records, end: byteOffset + ends.at(-1)!, source: batch.source }
    }
    batch.release?.()
    await write(writer.take())
    await file.mark(batch.mark, () => {
      const { frame, ...pickler } = writer.state()
      return { state: { ...progress, pickler, checksums: checksums.state() } satisfies IndexState, tail: frame }
    })
  }
  await write(writer.finish())
  const source = await sourceOf(progress)
  const manifest = {
    version: 1 as const,
    fileBytes: file.size,
    checksums: [...checksums.finish()],
    records: progress.records,
    ...(source === undefined ? {} : { source }),
  }
  await writeIndexManifest(file.path, manifest, reservations)
}

/** Fingerprint of the source file, or version of a remote one, if the index covers exactly its bytes. */
async function sourceOf({ records, end, source }: IndexProgress): Promise<FileFingerprint | undefined> {
  if (records === 0 || source === '-') return undefined
  const remote = knownRemoteEntry(source)
  if (remote !== undefined) return isCovered(end, remote.size) ? remoteFingerprint(remote) : undefined
  const { handle, stats } = await openSource(source)
  try {
    if (!stats.isFile() || !isCovered(end, stats.size)) return undefined
    return await cachedFingerprint({ path: source, handle }, stats)
  } finally {
    await closeSource(source, handle)
  }
}

/** Whether lines that end at `end` cover a file, which may have a line feed after the last one. */
const isCovered = (end: number, size: number): boolean => end <= size && size <= end + 1
