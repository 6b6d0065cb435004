/**
 * Opens a TensorFlow.js backend by name. `wasm` and `cpu` come with the package and need neither network nor compiler; the
 * others are optional packages, imported on demand. The backend is global state of tfjs, so an engine activates its own
 * before each operation.
 */
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '../../errors.js'
import type { EngineMemory } from '../engine.js'
import type { BackendName, ModelOptions } from '../options.js'
import type { Recorder } from './native/recorder.js'
import { openNativeBackend } from './native-backend.js'
import { nativeOperations } from './native-operations.js'
import { composedOperations, type Operations } from './operations.js'
import { guardHeap, registerWasmKernels } from './wasm-kernels.js'
import { openWasmOperations, suitsWasmOperations } from './wasm-operations.js'
import { openWebgpuBackend, watchDevice } from './webgpu-backend.js'

export interface Backend {
  readonly name: BackendName
  /** The fastest operations that support the widths of this model. */
  operationsFor(model: ModelOptions): Operations
  /** Makes this the current backend of tfjs. */
  activate(): Promise<void>
  /** @throws ENGINE_FAILED when the device failed, so that results read since it was opened are invalid */
  requireHealthy(): void
  memory(): EngineMemory
  /** Records computations as graphs; only for backends with a library that runs them. */
  readonly recorder?: Recorder
}

/** Names under which the backends are registered with tfjs. */
const registeredNames: Record<BackendName, string> = {
  wasm: 'wasm',
  cpu: 'cpu',
  node: 'tensorflow',
  'node-gpu': 'tensorflow',
  webgpu: 'webgpu',
}

/**
 * @throws PEER_MISSING with the install command, BACKEND_UNAVAILABLE when the package is installed but does not start
 */
export async function openBackend(name: BackendName): Promise<Backend> {
  // Without production mode tfjs writes hints to the console.
  tf.enableProdMode()
  const recorder = await load(name)
  const registered = registeredNames[name]
  const activate = async () => {
    if (tf.getBackend() !== registered && !(await start(registered))) {
      throw new PenstockError(
        'BACKEND_UNAVAILABLE',
        `the TensorFlow.js backend '${name}' does not start on this machine`,
      )
    }
  }
  await activate()
  if (name === 'wasm') {
    guardHeap()
  }
  const fused = name === 'wasm' ? await openWasmOperations() : undefined
  const general = registered === 'tensorflow' ? nativeOperations : composedOperations
  const operationsFor = (model: ModelOptions) => (fused !== undefined && suitsWasmOperations(model) ? fused : general)
  const requireHealthy = name === 'webgpu' ? watchDevice() : () => {}
  return { name, operationsFor, activate, requireHealthy, memory, ...(recorder === undefined ? {} : { recorder }) }
}

function memory(): EngineMemory {
  const { numTensors, numBytes } = tf.memory()
  return { tensors: numTensors, bytes: numBytes }
}

/** Removes the process-wide error handlers that the wasm backend installs: they would change how uncaught errors end. */
async function start(registered: string): Promise<boolean> {
  const events = ['uncaughtException', 'unhandledRejection'] as const
  const before = events.map(event => process.listeners(event as 'uncaughtException'))
  try {
    return await tf.setBackend(registered)
  } catch {
    return false
  } finally {
    events.forEach((event, index) => {
      for (const listener of process.listeners(event as 'uncaughtException')) {
        if (!before[index]!.includes(listener)) {
          process.off(event, listener)
        }
      }
    })
  }
}

async function load(name: BackendName): Promise<Recorder | undefined> {
  if (name === 'cpu') {
    await import('@tensorflow/tfjs-backend-cpu')
  } else if (name === 'wasm') {
    await import('@tensorflow/tfjs-backend-wasm')
    registerWasmKernels()
  } else if (name === 'webgpu') {
    await openWebgpuBackend()
  } else {
    const { recorder } = await openNativeBackend(name)
    // Graph inputs are in main memory: on a GPU the weights would be copied at each step.
    return name === 'node' ? recorder : undefined
  }
  return undefined
}
