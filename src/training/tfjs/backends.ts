/**
 * Opens a TensorFlow.js backend by name. `wasm` and `cpu` come with the package and need neither network nor compiler; the
 * others are optional packages, imported only when asked for. A backend is global to tfjs, so an engine activates its own
 * before each piece of work.
 */
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '../../errors.js'
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
  /** The fastest operations that can compute a model of these widths. */
  operationsFor(model: ModelOptions): Operations
  /** Makes this backend the one that tfjs uses from now on. */
  activate(): Promise<void>
  /** @throws ENGINE_FAILED when results that were read since it was opened are worth nothing */
  requireSound(): void
  /** TimeSlices computations into graphs, where the backend has a library that runs them. */
  readonly recorder?: Recorder
}

/** How tfjs itself calls each backend. */
const registeredNames: Record<BackendName, string> = {
  wasm: 'wasm',
  cpu: 'cpu',
  node: 'tensorflow',
  'node-gpu': 'tensorflow',
  webgpu: 'webgpu',
}

/**
 * @throws PEER_MISSING with the install command, BACKEND_UNAVAILABLE when the package is there but does not start
 */
export async function openBackend(name: BackendName): Promise<Backend> {
  // tfjs writes hints to the console otherwise.
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
  const requireSound = name === 'webgpu' ? watchDevice() : () => {}
  return { name, operationsFor, activate, requireSound, ...(recorder === undefined ? {} : { recorder }) }
}

/** Starting the wasm backend hangs handlers on the process that would change what an uncaught error does: they go again. */
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
    // A graph takes its inputs from the processor's memory: on a GPU the weights would travel each step.
    return name === 'node' ? recorder : undefined
  }
  return undefined
}
