/**
 * Loads TensorFlow's native library into this process as the tfjs backend 'tensorflow', from the folder in the user's
 * cache that `penstock setup tfjs-node` (or `tfjs-node-gpu`) created. node_modules is not involved.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '../../errors.js'
import type { NativeBinding } from './native/binding.js'
import { packageRequire } from './native/load-package.js'
import { bindingFile, type NativeKind, nativeFolder, setupCommand } from './native/recipe.js'
import { Recorder } from './native/recorder.js'

export interface NativeBackend {
  readonly binding: NativeBinding
  /** Absent when the package was loaded from node_modules. */
  readonly recorder?: Recorder
}

let opened: (NativeBackend & { readonly kind: NativeKind }) | undefined

/**
 * Registers the backend with this process's tfjs-core, once. The two kinds exclude each other: both are 'tensorflow'.
 * @throws PEER_MISSING with the setup command, BACKEND_UNAVAILABLE when it is installed but does not start
 */
export async function openNativeBackend(kind: NativeKind): Promise<NativeBackend> {
  if (opened === undefined) {
    const folder = nativeFolder(kind)
    return existsSync(bindingFile(folder)) ? registerNativeBackend(kind, folder) : importInstalled(kind)
  }
  if (opened.kind !== kind) {
    throw new PenstockError('BACKEND_UNAVAILABLE', `this process already uses the backend '${opened.kind}'`)
  }
  return opened
}

/**
 * Registers the backend from any folder.
 * @param needsGpu whether to reject `node-gpu` without a GPU; false in the self-test of an installation
 */
export function registerNativeBackend(kind: NativeKind, folder: string, needsGpu = kind === 'node-gpu'): NativeBackend {
  // Suppresses the library's messages about the CPU on standard error.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'
  try {
    const recorder = new Recorder(createRequire(import.meta.url)(bindingFile(folder)) as NativeBinding)
    const { binding } = recorder
    requireGpu(needsGpu, binding)
    const load = packageRequire(folder)
    const { NodeJSKernelBackend } = load('./dist/nodejs_kernel_backend') as KernelBackendModule
    load('./dist/register_all_kernels')
    tf.registerBackend('tensorflow', () => new NodeJSKernelBackend(binding, `@tensorflow/tfjs-${kind}`))
    opened = { kind, binding, recorder }
    return opened
  } catch (error) {
    throw loadError(error, `the backend '${kind}' does not load (remove ${folder} and run ${setupCommand(kind)})`)
  }
}

interface KernelBackendModule {
  readonly NodeJSKernelBackend: new (binding: NativeBinding, packageName: string) => tf.KernelBackend
}

/** Loads the package that a user installed with npm; its install script fetches an older library. */
async function importInstalled(kind: NativeKind): Promise<NativeBackend> {
  const name = `@tensorflow/tfjs-${kind}`
  try {
    await import(name)
    await tf.setBackend('tensorflow')
    const { binding } = tf.backend() as unknown as { readonly binding: NativeBinding }
    requireGpu(kind === 'node-gpu', binding)
    opened = { kind, binding }
    return opened
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') {
      throw new PenstockError(
        'PEER_MISSING',
        `the backend '${kind}' is not installed: ${setupCommand(kind)}`,
        {},
        error,
      )
    }
    throw loadError(error, `${name} does not load`)
  }
}

function requireGpu(needed: boolean, binding: NativeBinding): void {
  if (needed && !binding.isUsingGpuDevice()) {
    throw new PenstockError('BACKEND_UNAVAILABLE', "the backend 'node-gpu' finds no GPU: use 'node' on this machine")
  }
}

function loadError(error: unknown, what: string): PenstockError {
  if (error instanceof PenstockError) {
    return error
  }
  const reason = error instanceof Error ? error.message : String(error)
  return new PenstockError('BACKEND_UNAVAILABLE', `${what}: ${reason}`, {}, error)
}
