/**
 * What the native back ends are made of: one version of TensorFlow's library, out of its Python wheel, and one of the
 * package @tensorflow/tfjs-node, whose binding is built against it. docs/backends.md says why these.
 */
import { join } from 'node:path'
import { cacheFolder } from '../../user-cache.js'

export type NativeKind = 'node' | 'node-gpu'

/** The npm package whose kernels and binding are used; the GPU variant of it has the same files. */
export const bindingPackage = { name: '@tensorflow/tfjs-node', version: '4.22.0' }

export const libraryVersion = '2.20.0'

/** Where a native back end is installed, whole or not at all. */
export function nativeFolder(kind: NativeKind): string {
  const { version } = bindingPackage
  return join(cacheFolder(), `tfjs-${kind}-${version}-tensorflow-${libraryVersion}-${process.platform}-${process.arch}`)
}

/** The compiled binding inside such a folder; where the package's own scripts put it. */
export function bindingFile(folder: string): string {
  return join(folder, 'lib', 'napi-v8', 'tfjs_binding.node')
}

export function setupCommand(kind: NativeKind): string {
  return `npx penstock setup tfjs-${kind}`
}
