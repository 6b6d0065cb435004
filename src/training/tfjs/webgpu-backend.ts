/**
 * Registers the tfjs backend 'webgpu' from two optional packages: the backend itself, and Dawn, which provides the WebGPU
 * API of browsers in Node. Dawn uses the graphics driver: Vulkan on Linux.
 */
import { dirname } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '../../errors.js'
import { type Peer, resolveOptionalPackage } from '../optional-package.js'
import { packageRequire } from './native/load-package.js'

const dawn: Peer = { name: 'webgpu' }
const kernels: Peer = { name: '@tensorflow/tfjs-backend-webgpu', version: '4.22.0' }

interface Dawn {
  create(flags: readonly string[]): { requestAdapter(): Promise<Adapter | null> }
  readonly globals: object
}

interface Adapter {
  readonly info: { readonly vendor: string; readonly description: string; readonly isFallbackAdapter?: boolean }
}

interface Device {
  readonly lost: Promise<{ readonly message: string }>
  addEventListener(type: 'uncapturederror', listener: (event: DeviceErrorEvent) => void): void
}

interface DeviceErrorEvent extends Event {
  readonly error: { readonly message: string }
}

export interface WebgpuDevice {
  readonly description: string
  /** Whether the CPU computes it, which the other backends use better. */
  readonly isSoftware: boolean
}

let opened: Promise<WebgpuDevice> | undefined

/** @throws PEER_MISSING with the install command, BACKEND_UNAVAILABLE without a driver */
export function openWebgpuBackend(): Promise<WebgpuDevice> {
  opened ??= register()
  // Allows another attempt after a failure.
  opened.catch(() => {
    opened = undefined
  })
  return opened
}

async function register(): Promise<WebgpuDevice> {
  const [dawnFile, kernelsFile] = [dawn, kernels].map(peer => resolveOptionalPackage(peer, [dawn, kernels])) as [
    string,
    string,
  ]
  const { create, globals } = await importDawn(dawnFile)
  const gpu = create([])
  const adapter = await gpu.requestAdapter()
  if (adapter === null) {
    const message =
      "the backend 'webgpu' finds no graphics driver: on Linux it needs libvulkan.so.1 and a Vulkan driver"
    throw new PenstockError('BACKEND_UNAVAILABLE', message)
  }
  Object.assign(globalThis, globals)
  if (globalThis.navigator === undefined) {
    Object.defineProperty(globalThis, 'navigator', { value: { userAgent: 'node' }, configurable: true })
  }
  Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true })
  packageRequire(dirname(kernelsFile))('./tf-backend-webgpu.node.js')
  const { vendor, description, isFallbackAdapter } = adapter.info
  return { description: `${vendor} ${description}`.trim(), isSoftware: isFallbackAdapter === true }
}

/**
 * Watches the device of the active backend for failures: it rejects a program beyond its limits without an exception, and
 * all later results are zeros.
 * @returns a function that throws ENGINE_FAILED after such a failure
 */
export function watchDevice(): () => void {
  const { device } = tf.backend() as unknown as { readonly device: Device }
  let failure: string | undefined
  device.addEventListener('uncapturederror', event => {
    event.preventDefault()
    failure ??= event.error.message
  })
  device.lost.then(({ message }) => {
    failure ??= message
  })
  return () => {
    if (failure !== undefined) {
      throw new PenstockError('ENGINE_FAILED', `the WebGPU device failed: ${failure}`)
    }
  }
}

async function importDawn(file: string): Promise<Dawn> {
  try {
    return (await import(pathToFileURL(file).href)) as Dawn
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new PenstockError('BACKEND_UNAVAILABLE', `${dawn.name} does not load: ${reason}`, {}, error)
  }
}
