/** Resolves `backend: auto` to the fastest backend that loads on this machine. */
import { PenstockError, toPenstockError } from '../../errors.js'
import type { BackendName } from '../options.js'
import { openBackend } from './backends.js'
import { openWebgpuBackend } from './webgpu-backend.js'

export interface BackendChoice {
  readonly backend: BackendName
  /** Explanation for the log. */
  readonly reason: string
}

/** Fastest first; the last one is part of this package. */
const preference = ['node-gpu', 'node', 'webgpu', 'wasm'] as const satisfies readonly BackendName[]

/** @returns the first backend that loads, opened, and why the ones before it were skipped */
export async function chooseBackend(): Promise<BackendChoice> {
  const skipped: string[] = []
  for (const backend of preference) {
    try {
      const reason = await open(backend)
      return { backend, reason: [...skipped, reason].join('; ') }
    } catch (error) {
      const { code, message } = toPenstockError(error, 'BACKEND_UNAVAILABLE')
      skipped.push(code === 'PEER_MISSING' ? `${backend} is not installed` : `${backend}: ${message}`)
    }
  }
  throw new PenstockError('BACKEND_UNAVAILABLE', `no backend loads: ${skipped.join('; ')}`)
}

/** Opens a backend and returns the reason to prefer it. @throws BACKEND_UNAVAILABLE, PEER_MISSING */
async function open(backend: (typeof preference)[number]): Promise<string> {
  await openBackend(backend)
  switch (backend) {
    case 'node-gpu':
      return 'it uses the GPU'
    case 'node':
      return "TensorFlow's own library loads"
    case 'webgpu': {
      const { description, isSoftware } = await openWebgpuBackend()
      if (isSoftware) {
        throw new PenstockError('BACKEND_UNAVAILABLE', `its only driver, ${description}, computes on the CPU`)
      }
      return `it uses ${description}`
    }
    case 'wasm':
      return 'it comes with this package'
  }
}
