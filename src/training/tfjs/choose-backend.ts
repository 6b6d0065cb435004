/** What `backend: auto` takes: the fastest backend that loads on this machine. */
import { PenstockError, toPenstockError } from '../../errors.js'
import type { BackendName } from '../options.js'
import { openBackend } from './backends.js'
import { openWebgpuBackend } from './webgpu-backend.js'

export interface BackendChoice {
  readonly backend: BackendName
  /** For people. */
  readonly reason: string
}

/** Fastest first; the last comes with this package. */
const preference = ['node-gpu', 'node', 'webgpu', 'wasm'] as const satisfies readonly BackendName[]

/** @returns the first backend that loads, opened, and why it is none before it */
export async function chooseBackend(): Promise<BackendChoice> {
  const passedOver: string[] = []
  for (const backend of preference) {
    try {
      const reason = await open(backend)
      return { backend, reason: [...passedOver, reason].join('; ') }
    } catch (error) {
      const { code, message } = toPenstockError(error, 'BACKEND_UNAVAILABLE')
      passedOver.push(code === 'PEER_MISSING' ? `${backend} is not installed` : `${backend}: ${message}`)
    }
  }
  throw new PenstockError('BACKEND_UNAVAILABLE', `no backend loads: ${passedOver.join('; ')}`)
}

/** Opens a backend and says what speaks for it. @throws BACKEND_UNAVAILABLE, PEER_MISSING */
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
        throw new PenstockError('BACKEND_UNAVAILABLE', `its only driver, ${description}, computes on the processor`)
      }
      return `it uses ${description}`
    }
    case 'wasm':
      return 'it comes with this package'
  }
}
