/**
 * The sources of an output as its manifest records them: one entry per file, in the order in which they were read. The entries
 * are columns, so that 100,000 of them take some 20 MB.
 */
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { mapConcurrently } from '../concurrent.js'
import { isRemote } from '../remote/remote-name.js'
import { absoluteSource, sourceSize } from '../source-list.js'
import { fingerprintOf, SAMPLES } from './file-fingerprint.js'

export const sourceRecordSchema = z.object({
  /** Samples of 64 KiB that the hash of a local file covers. */
  samples: z.number(),
  paths: z.array(z.string()),
  bytes: z.array(z.number()),
  /** SHA-256 of the samples; of a remote file its ETag, or commit and object id. */
  versions: z.array(z.string()),
  /** Options of `read-corpus` that `verify --deep` reads the sources with; absent for the defaults. */
  reading: z.record(z.string(), z.string()).optional(),
})
export type SourceRecord = z.output<typeof sourceRecordSchema>
export type SourceReading = NonNullable<SourceRecord['reading']>

/** Of all files together: the hashes of many files must not take longer than packing them. */
const MAX_SAMPLES = 1024

/** @returns undefined unless all sources are files. @throws FILE_MISSING, FILE_UNREADABLE */
export async function recordSources(
  files: readonly string[],
  reading: SourceReading = {},
): Promise<SourceRecord | undefined> {
  if (files.length === 0 || files.some(file => sourceSize(file) === undefined)) return undefined
  const samples = Math.max(1, Math.min(SAMPLES, Math.floor(MAX_SAMPLES / files.length)))
  const found = await mapConcurrently(files, file => fingerprintOf(file, samples))
  return {
    samples,
    paths: files.map(absoluteSource),
    bytes: found.map(({ bytes }) => bytes),
    versions: found.map(({ sample }) => sample),
    ...(Object.keys(reading).length > 0 && { reading }),
  }
}

/** An error for each source that is missing or has changed since; one at a time, because there may be many. */
export async function* changesOf({ samples, paths, bytes, versions }: SourceRecord): AsyncGenerator<PenstockError> {
  for (const [index, file] of paths.entries()) {
    try {
      const found = await fingerprintOf(file, samples)
      if (found.bytes === bytes[index] && found.sample === versions[index]) continue
      const kind = isRemote(file) ? 'another version of it is there now' : 'its content differs'
      yield new PenstockError('FILE_CHANGED', `the source has changed since it was packed: ${kind}`, { file })
    } catch (error) {
      if (!(error instanceof PenstockError)) throw error
      yield error
    }
  }
}
