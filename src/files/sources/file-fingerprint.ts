/** Fingerprint of a file: its size and a hash of samples of its content, computed in a few milliseconds. */
import { createHash } from 'node:crypto'
import type { Stats } from 'node:fs'
import { type OpenFile, readFully } from '../read-at.js'
import { isRemote } from '../remote/remote-name.js'
import { locateRemoteFile } from '../remote/remote-sources.js'
import type { RemoteEntry } from '../remote/remote-store.js'
import { closeSource, openSource } from '../source-file.js'

export interface FileFingerprint {
  readonly bytes: number
  /** SHA-256, in hex: of the whole file up to 4 MiB, otherwise of 64 samples of 64 KiB. Of a remote file its version. */
  readonly sample: string
}

const SAMPLE_BYTES = 64 << 10
export const SAMPLES = 64
/** Samples read concurrently. */
const CONCURRENT_READS = 16

/** @param maxSamples of 64 KiB each. @throws FILE_UNREADABLE */
export async function fingerprint(file: OpenFile, bytes: number, maxSamples = SAMPLES): Promise<FileFingerprint> {
  const hash = createHash('sha256')
  const samples = Math.min(maxSamples, Math.ceil(bytes / SAMPLE_BYTES))
  // The last sample ends at the end of the file; the samples of a small file are adjacent.
  const step = samples < maxSamples ? SAMPLE_BYTES : (bytes - SAMPLE_BYTES) / Math.max(1, maxSamples - 1)
  const chunks = Array.from({ length: Math.min(CONCURRENT_READS, samples) }, () =>
    Buffer.allocUnsafeSlow(Math.min(SAMPLE_BYTES, bytes)),
  )
  for (let first = 0; first < samples; first += CONCURRENT_READS) {
    const reads = chunks.slice(0, samples - first).map(async (chunk, index) => {
      return chunk.subarray(0, await readFully(file, chunk, Math.floor((first + index) * step)))
    })
    for (const sample of await Promise.all(reads)) hash.update(sample)
  }
  return { bytes, sample: hash.digest('hex') }
}

/** `fingerprint` of a local file, or the version of a remote one. @throws FILE_MISSING, FILE_UNREADABLE */
export async function fingerprintOf(path: string, maxSamples?: number): Promise<FileFingerprint> {
  if (isRemote(path)) return remoteFingerprint(await locateRemoteFile(path))
  const { handle, stats } = await openSource(path)
  try {
    const isCached = maxSamples === SAMPLES
    return await (isCached
      ? cachedFingerprint({ path, handle }, stats)
      : fingerprint({ path, handle }, stats.size, maxSamples))
  } finally {
    await closeSource(path, handle)
  }
}

export const remoteFingerprint = ({ size, version }: RemoteEntry): FileFingerprint => ({ bytes: size, sample: version })

export function isSameFingerprint(a: FileFingerprint, b: FileFingerprint): boolean {
  return a.bytes === b.bytes && a.sample === b.sample
}

let known: { readonly state: string; readonly identity: Promise<FileFingerprint> } | undefined

/**
 * Cached variant of `fingerprint`: a run needs it at its start and again for its manifest. The file is not read again while
 * its metadata is unchanged.
 *
 * @throws FILE_UNREADABLE
 */
export function cachedFingerprint(
  file: OpenFile,
  { dev, ino, size, mtimeMs, ctimeMs }: Stats,
): Promise<FileFingerprint> {
  const state = [dev, ino, size, mtimeMs, ctimeMs].join()
  if (known?.state === state) return known.identity.catch(() => fingerprint(file, size))
  known = { state, identity: fingerprint(file, size) }
  return known.identity
}
