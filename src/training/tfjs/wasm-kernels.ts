/**
 * Replacements for two kernels of the stock wasm backend: its matrix product is fast only for one untransposed product, and
 * it has no UnsortedSegmentSum, the gradient of an embedding. The product has the same bits as the stock kernel;
 * bench/train.ts measures the gain.
 */
import type { KernelConfig, TensorInfo } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '../../errors.js'

/** The part of the wasm backend that kernels use. */
export interface WasmBackend {
  readonly wasm: {
    /** A new view replaces it when the heap grows. */
    readonly HEAPU8: Uint8Array
    /** Returns 0 when out of memory. */
    _malloc(bytes: number): number
    _free(address: number): void
    readonly asm: { readonly memory: WebAssembly.Memory }
    readonly tfjs: {
      registerTensor(id: number, size: number, memoryOffset: number): void
      disposeData(id: number): void
    }
  }
  readonly dataIdMap: { get(dataId: object): { id: number; memoryOffset: number }; delete(dataId: object): boolean }
  makeOutput(shape: readonly number[], dtype: string, memoryOffset?: number): TensorInfo
  disposeData(dataId: object): boolean
  typedArrayFromHeap(info: TensorInfo): Float32Array | Int32Array
}

const guarded = new WeakSet<WasmBackend>()

/**
 * Turns a full heap into an error: the stock backend would continue and overwrite its own data.
 * @throws ENGINE_FAILED afterwards, from every allocation that does not fit
 */
export function guardHeap(): void {
  const backend = tf.backend() as unknown as WasmBackend
  if (guarded.has(backend)) {
    return
  }
  guarded.add(backend)
  const { wasm } = backend
  // The first call replaces the module's own entry, so it must precede the wrapping.
  wasm._free(wasm._malloc(4))
  const allocate = wasm._malloc
  wasm._malloc = bytes => {
    const address = bytes < addressSpace ? allocate(bytes) >>> 0 : 0
    // Near its end the heap returns addresses beyond it.
    if ((address === 0 && bytes > 0) || address + bytes > wasm.HEAPU8.length) {
      const message = `the wasm heap cannot allocate ${bytes} bytes: reduce the model or batch_size`
      throw new PenstockError('ENGINE_FAILED', message)
    }
    return address
  }
}

const addressSpace = 2 ** 32

/** A tensor's memory in the active wasm backend; valid until the next tensor is created. */
export function heapView(tensor: tf.Tensor): Float32Array {
  return (tf.backend() as unknown as WasmBackend).typedArrayFromHeap(tensor) as Float32Array
}

interface KernelCall {
  readonly inputs: Readonly<Record<string, TensorInfo>>
  readonly backend: WasmBackend
  readonly attrs: Readonly<Record<string, unknown>>
}

type Kernel = (call: KernelCall) => TensorInfo

let unregister: (() => void) | undefined

/**
 * Registers the replacements, once per process.
 * @returns a function that restores the stock kernels, for comparisons
 */
export function registerWasmKernels(): () => void {
  unregister ??= replaceKernels()
  return unregister
}

function replaceKernels(): () => void {
  const stock = tf.getKernel('BatchMatMul', 'wasm')
  const transpose = tf.getKernel('Transpose', 'wasm').kernelFunc as unknown as Kernel
  register('BatchMatMul', fastProduct(stock.kernelFunc as unknown as Kernel, transpose), stock)
  register('UnsortedSegmentSum', segmentSum)
  return () => {
    tf.unregisterKernel('BatchMatMul', 'wasm')
    tf.unregisterKernel('UnsortedSegmentSum', 'wasm')
    tf.registerKernel(stock)
    unregister = undefined
  }
}

function register(kernelName: string, kernelFunc: Kernel, replaced?: KernelConfig): void {
  if (replaced !== undefined) {
    tf.unregisterKernel(kernelName, 'wasm')
  }
  tf.registerKernel({ ...replaced, kernelName, backendName: 'wasm', kernelFunc } as unknown as KernelConfig)
}

/** Converts every product to the form that is fast in the stock kernel: untransposed, one matrix at a time. */
function fastProduct(stock: Kernel, transpose: Kernel): Kernel {
  const untransposed = (backend: WasmBackend, matrix: TensorInfo, transposed: boolean): TensorInfo => {
    const rank = matrix.shape.length
    const perm = [...Array(rank - 2).keys(), rank - 1, rank - 2]
    return transposed ? transpose({ inputs: { x: matrix }, backend, attrs: { perm } }) : matrix
  }
  return ({ inputs, backend, attrs }) => {
    const a = untransposed(backend, inputs.a!, attrs.transposeA as boolean)
    const b = untransposed(backend, inputs.b!, attrs.transposeB as boolean)
    const [batchA, batchB] = [batchOf(a), batchOf(b)]
    const result =
      batchA === batchB && batchA > 1
        ? productOfEach(stock, backend, a, b, batchA)
        : stock({ inputs: { a, b }, backend, attrs: { transposeA: false, transposeB: false } })
    for (const [used, given] of [
      [a, inputs.a],
      [b, inputs.b],
    ]) {
      if (used !== given) {
        backend.disposeData(used!.dataId)
      }
    }
    return result
  }
}

function batchOf(matrix: TensorInfo): number {
  return matrix.shape.slice(0, -2).reduce((product, size) => product * size, 1)
}

function productOfEach(stock: Kernel, backend: WasmBackend, a: TensorInfo, b: TensorInfo, batch: number): TensorInfo {
  const [rows, inner, columns] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!]
  const output = backend.makeOutput([...a.shape.slice(0, -2), rows, columns], 'float32')
  for (let index = 0; index < batch; index++) {
    const left = viewOf(backend, a, [1, rows, inner], index)
    const right = viewOf(backend, b, [1, inner, columns], index)
    const product = stock({
      inputs: { a: left, b: right },
      backend,
      attrs: { transposeA: false, transposeB: false },
    })
    backend.typedArrayFromHeap(output).set(backend.typedArrayFromHeap(product), index * rows * columns)
    backend.disposeData(product.dataId)
    closeView(backend, left)
    closeView(backend, right)
  }
  return output
}

/** One matrix of a batch as a tensor, without copying. */
function viewOf(backend: WasmBackend, whole: TensorInfo, shape: readonly number[], index: number): TensorInfo {
  const size = shape.reduce((product, length) => product * length, 1)
  return backend.makeOutput(shape, 'float32', backend.dataIdMap.get(whole.dataId).memoryOffset + index * size * 4)
}

/** Unregisters a view without freeing the memory, which belongs to the whole tensor. */
function closeView(backend: WasmBackend, view: TensorInfo): void {
  backend.wasm.tfjs.disposeData(backend.dataIdMap.get(view.dataId).id)
  backend.dataIdMap.delete(view.dataId)
}

const segmentSum: Kernel = ({ inputs, backend, attrs }) => {
  const { x, segmentIds } = inputs
  const numSegments = attrs.numSegments as number
  const output = backend.makeOutput([numSegments, ...x!.shape.slice(1)], 'float32')
  const sums = backend.typedArrayFromHeap(output).fill(0)
  const rows = backend.typedArrayFromHeap(x!)
  const ids = backend.typedArrayFromHeap(segmentIds!)
  const width = sums.length / numSegments
  for (let row = 0; row < ids.length; row++) {
    const [from, to] = [row * width, ids[row]! * width]
    for (let column = 0; column < width; column++) {
      sums[to + column] = sums[to + column]! + rows[from + column]!
    }
  }
  return output
}
