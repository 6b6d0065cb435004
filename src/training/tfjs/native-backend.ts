/**
 * Brings TensorFlow's own library into this process as the tfjs backend 'tensorflow', from the folder that
 * `penstock setup tfjs-node` (or `tfjs-node-gpu`) has made in the user's cache. Nothing of it lies in node_modules.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '../../errors.js'
import { packageRequire } from './native/load-package.js'
import { bindingFile, type NativeKind, nativeFolder, setupCommand } from './native/recipe.js'

export interface OpAttribute {
  readonly name: string
  readonly type: number
  readonly value: unknown
}

export interface TensorMetadata {
  readonly id: number
  readonly shape: number[]
  readonly dtype: number
}

/** What of the compiled binding is used here. Tensors in it are known by numbers. */
export interface NativeBinding {
  readonly TF_Version: string
  readonly TF_FLOAT: number
  readonly TF_INT32: number
  readonly TF_BOOL: number
  isUsingGpuDevice(): boolean
  executeOp(name: string, attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[]
  getNumOfTensors(): number
}

let opened: { readonly kind: NativeKind; readonly binding: NativeBinding } | undefined

/**
 * Registers the backend with this process's tfjs-core, once. The two kinds exclude each other: both are 'tensorflow'.
 * @throws PEER_MISSING with the setup command, BACKEND_UNAVAILABLE when it is there but does not start
 */
export async function openNativeBackend(kind: NativeKind): Promise<NativeBinding> {
  if (opened?.kind === kind) {
    return opened.binding
  }
  if (opened !== undefined) {
    throw new PenstockError('BACKEND_UNAVAILABLE', `this process uses the backend '${opened.kind}' already`)
  }
  const folder = nativeFolder(kind)
  const binding = existsSync(bindingFile(folder)) ? registerNativeBackend(kind, folder) : await importInstalled(kind)
  if (kind === 'node-gpu' && !binding.isUsingGpuDevice()) {
    throw new PenstockError(
      'BACKEND_UNAVAILABLE',
      "the backend 'node-gpu' finds no GPU: `penstock doctor` says what is there",
    )
  }
  opened = { kind, binding }
  return binding
}

/** The package as npm installs it, where a user has done that: its own script fetches an older library. */
async function importInstalled(kind: NativeKind): Promise<NativeBinding> {
  const name = `@tensorflow/tfjs-${kind}`
  try {
    await import(name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') {
      throw new PenstockError(
        'PEER_MISSING',
        `the backend '${kind}' is not installed: ${setupCommand(kind)}`,
        {},
        error,
      )
    }
    const reason = error instanceof Error ? error.message : String(error)
    throw new PenstockError('BACKEND_UNAVAILABLE', `${name} does not load: ${reason}`, {}, error)
  }
  await tf.setBackend('tensorflow')
  return (tf.backend() as unknown as { readonly binding: NativeBinding }).binding
}

interface KernelBackendModule {
  readonly NodeJSKernelBackend: new (binding: NativeBinding, packageName: string) => tf.KernelBackend
}

/** The same from any folder, a GPU or not: for what tests a folder before it is in its place. */
export function registerNativeBackend(kind: NativeKind, folder: string): NativeBinding {
  // Its library tells about the processor on standard error otherwise.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'
  try {
    const binding = createRequire(import.meta.url)(bindingFile(folder)) as NativeBinding
    const load = packageRequire(folder)
    const { NodeJSKernelBackend } = load('./dist/nodejs_kernel_backend') as KernelBackendModule
    load('./dist/register_all_kernels')
    tf.registerBackend('tensorflow', () => new NodeJSKernelBackend(binding, `@tensorflow/tfjs-${kind}`))
    opened = { kind, binding }
    return binding
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const message = `the backend '${kind}' does not load: ${reason}; remove ${folder} and run ${setupCommand(kind)}`
    throw new PenstockError('BACKEND_UNAVAILABLE', message, {}, error)
  }
}
