/**
 * Versions of the native backends' components: TensorFlow's library, from its Python wheel, and the npm package
 * @tensorflow/tfjs-node, whose binding is built against it. docs/backends.md explains the choice.
 */
import { join } from 'node:path'
import { cacheFolder } from '../../../files/cache-folder.js'

export type NativeKind = 'node' | 'node-gpu'

/** The npm package whose kernels and binding are used; its GPU variant has the same files. */
export const bindingPackage = '@tensorflow/tfjs-node@4.22.0'

export interface Wheel {
  /** Requirement in pip's syntax. */
  readonly requirement: string
  readonly file: string
  readonly sha256: string
  /** Disk space needed during the installation, including the download. */
  readonly diskBytes: number
}

const libraryVersion = '2.17.1'
const platformTag = 'cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64'

/** Hashes as published by the package index; published files never change. */
export const wheels: Readonly<Record<NativeKind, Wheel>> = {
  node: {
    requirement: `tensorflow-cpu==${libraryVersion}`,
    file: `tensorflow_cpu-${libraryVersion}-${platformTag}.whl`,
    sha256: '92aba7b37c89596a783766f9b0822c710e3b674a8cd29598656a84df4ae61364',
    diskBytes: 1.2e9,
  },
  'node-gpu': {
    requirement: `tensorflow==${libraryVersion}`,
    file: `tensorflow-${libraryVersion}-${platformTag}.whl`,
    sha256: 'd618cc21b0adf695fc8b4323f56ccd17c1408379422e1a177481d4fd8523fa8e',
    diskBytes: 9e9,
  },
}

/** Entries of the wheel to unpack: the two libraries, and the headers that the binding includes. */
export const libraryEntries =
  /^tensorflow\/(lib[a-z_]+\.so\.2|include\/(tensorflow\/c|tensorflow\/core\/platform|tsl\/platform|tsl\/c|xla\/tsl\/c)\/(eager\/)?[a-z_]+\.h)$/

/** NVIDIA's libraries; the loader finds them through the library's rpath, `../nvidia/NAME/lib`. */
export const cudaLibraries = /^nvidia\/[a-z_]+\/lib\/[^/]+\.so[.0-9]*$/

/** Folder of an installed native backend. */
export function nativeFolder(kind: NativeKind): string {
  const [, version] = bindingPackage.split(/(?<=.)@/)
  return join(cacheFolder(), `tfjs-${kind}-${version}-tensorflow-${libraryVersion}-${process.platform}-${process.arch}`)
}

/** The compiled binding inside such a folder, at the package's standard path. */
export function bindingFile(folder: string): string {
  return join(folder, 'lib', 'napi-v8', 'tfjs_binding.node')
}

export function setupCommand(kind: NativeKind): string {
  return `npx penstock setup tfjs-${kind}`
}
