/** Which file something was made from: its size and a hash of samples of it, found in a few milliseconds. */
import { createHash } from 'node:crypto'
import type { Stats } from 'node:fs'
import { type OpenFile, readAt } from './read-at.js'

export interface FileFingerprint {
  readonly bytes: number
  /** SHA-256, in hex, of the whole of a file of at most 4 MiB, else of 64 places of it. */
  readonly sample: string
}

const SAMPLE_BYTES = 64 << 10
const SAMPLES = 64
/** Samples read at the same time. */
const AT_ONCE = 16

/** @throws FILE_UNREADABLE */
export async function fingerprint(file: OpenFile, bytes: number): Promise<FileFingerprint> {
  const hash = createHash('sha256')
  const samples = Math.min(SAMPLES, Math.ceil(bytes / SAMPLE_BYTES))
  // The last sample ends where the file does; those of a small file touch.
  const step = samples < SAMPLES ? SAMPLE_BYTES : (bytes - SAMPLE_BYTES) / (SAMPLES - 1)
  const chunks = Array.from({ length: Math.min(AT_ONCE, samples) }, () => Buffer.allocUnsafeSlow(SAMPLE_BYTES))
  for (let first = 0; first < samples; first += AT_ONCE) {
    const reads = chunks.slice(0, samples - first).map(async (chunk, index) => {
      return chunk.subarray(0, await readAt(file, chunk, Math.floor((first + index) * step)))
    })
    for (const sample of await Promise.all(reads)) hash.update(sample)
  }
  return { bytes, sample: hash.digest('hex') }
}

export function isSameFingerprint(a: FileFingerprint, b: FileFingerprint): boolean {
  return a.bytes === b.bytes && a.sample === b.sample
}

let known: { readonly state: string; readonly identity: Promise<FileFingerprint> } | undefined

/**
 * The same for a run, which asks at its start and again for what it has written: a file that is still in the state in
 * which it was last asked for is not read again.
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
