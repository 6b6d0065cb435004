/** Reads the compiled kernels of assembly/, which the build writes to this module's folder. */
import { readFile } from 'node:fs/promises'
import { PenstockError } from '../../errors.js'

/** @throws BACKEND_UNAVAILABLE */
export async function readKernels(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const url = new URL(name, import.meta.url)
  return readFile(url).catch(error => {
    throw new PenstockError('BACKEND_UNAVAILABLE', `${name} is missing: rebuild the package`, {}, error)
  }) as Promise<Uint8Array<ArrayBuffer>>
}
