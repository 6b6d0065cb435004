/** Which file something was made from: its size and a hash of samples of it, found in a few milliseconds. */
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'

export interface SourceIdentity {
  readonly bytes: number
  /** SHA-256, in hex, of the whole of a file of at most 4 MiB, else of 64 places of it. */
  readonly sample: string
}

const SAMPLE_BYTES = 64 << 10
const SAMPLES = 64

export async function identifySource(handle: FileHandle, bytes: number): Promise<SourceIdentity> {
  const hash = createHash('sha256')
  const chunk = Buffer.allocUnsafe(SAMPLE_BYTES)
  const samples = Math.min(SAMPLES, Math.ceil(bytes / SAMPLE_BYTES))
  // The last sample ends where the file does; those of a small file touch.
  const step = samples < SAMPLES ? SAMPLE_BYTES : (bytes - SAMPLE_BYTES) / (SAMPLES - 1)
  for (let sample = 0; sample < samples; sample++) {
    const { bytesRead } = await handle.read(chunk, 0, SAMPLE_BYTES, Math.floor(sample * step))
    hash.update(chunk.subarray(0, bytesRead))
  }
  return { bytes, sample: hash.digest('hex') }
}

export function isSameSource(a: SourceIdentity, b: SourceIdentity): boolean {
  return a.bytes === b.bytes && a.sample === b.sample
}
