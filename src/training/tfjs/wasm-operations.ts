/**
 * Operations for the wasm backend on the kernels of assembly/training/kernels.ts, which work in place on the backend's heap:
 * products with any transposition, and fused operations. bench/train.ts compares them with the stock kernels.
 */
import { setFlagsFromString } from 'node:v8'
import type { Rank, Tensor, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import type { ModelOptions } from '../options.js'
import { type AdamHyperparameters, type AdamWKernel, updateByKernel } from './adamw.js'
import { readKernels } from './kernel-files.js'
import { type AdamWeight, composedOperations, type Operations, type Rotary } from './operations.js'
import type { WasmBackend } from './wasm-kernels.js'

/** The exports of assembly/training/kernels.ts; every argument is a number, an address or a flag. */
type Kernels = AdamWKernel &
  Readonly<
    Record<
      | 'productScratchBytes'
      | 'product'
      | 'attentionScratchBytes'
      | 'attention'
      | 'attentionGradient'
      | 'exchangeHeads'
      | 'embed'
      | 'embedGradient'
      | 'sumRows'
      | 'normalize'
      | 'normalizeGradient'
      | 'swiglu'
      | 'swigluGradient'
      | 'gelu'
      | 'geluGradient'
      | 'crossEntropy'
      | 'squaredNorm'
      | 'add',
      (...values: number[]) => number
    >
  >

/** The kernels only support widths that are multiples of their vectors. */
export function suitsWasmOperations({ head_dim, ffn_width, vocab_size }: ModelOptions): boolean {
  return head_dim % 8 === 0 && ffn_width % 4 === 0 && vocab_size % 4 === 0
}

/**
 * Opens the kernels on the heap of the active wasm backend.
 * @param kinds the builds to choose from; 'any' selects the fastest that this version of Node runs
 * @returns undefined on a machine without SIMD
 */
export async function openWasmOperations(kinds: 'any' | 'plain' = 'any'): Promise<Operations | undefined> {
  if (!(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'))) {
    return undefined
  }
  const backend = tf.backend() as unknown as WasmBackend
  const imports = { env: { memory: backend.wasm.asm.memory, log: Math.log } }
  const instance = await WebAssembly.instantiate(await compileKernels(kinds), imports)
  return wasmOperations(new Heap(backend, instance.exports as unknown as Kernels))
}

/** The build with fused multiply-add needs relaxed SIMD, which Node 20 enables only with a flag. */
async function compileKernels(kinds: 'any' | 'plain'): Promise<WebAssembly.Module> {
  const plain = await readKernels('kernels.wasm')
  if (kinds === 'plain') {
    return WebAssembly.compile(plain)
  }
  const relaxed = await readKernels('kernels-relaxed.wasm')
  if (!WebAssembly.validate(relaxed)) {
    setFlagsFromString('--experimental-wasm-relaxed-simd')
  }
  return WebAssembly.compile(WebAssembly.validate(relaxed) ? relaxed : plain)
}

/** Addresses of the backend's tensors, and scratch memory for kernels. */
class Heap {
  readonly kernels: Kernels
  readonly #backend: WasmBackend
  #scratch = { address: 0, bytes: 0 }

  constructor(backend: WasmBackend, kernels: Kernels) {
    this.#backend = backend
    this.kernels = kernels
  }

  addressOf(tensor: Tensor | undefined): number {
    return tensor === undefined ? 0 : this.#backend.dataIdMap.get(tensor.dataId).memoryOffset
  }

  /** An uninitialized tensor. */
  output<R extends Rank>(...shape: number[]): Tensor<R> {
    return tf.engine().makeTensorFromTensorInfo(this.#backend.makeOutput(shape, 'float32')) as Tensor<R>
  }

  /** Memory that is valid until the next call; it stays allocated until the process ends. */
  scratch(bytes: number): number {
    if (bytes > this.#scratch.bytes) {
      this.#backend.wasm._free(this.#scratch.address)
      this.#scratch = { address: this.#backend.wasm._malloc(bytes) >>> 0, bytes }
    }
    return this.#scratch.address
  }
}

function wasmOperations(heap: Heap): Operations {
  return {
    ...composedOperations,
    ...linearOperations(heap),
    ...rowOperations(heap),
    ...attentionOperations(heap),
    adamW: (weights, hyper) => adamW(heap, weights, hyper),
  }
}

type Strides = readonly [outer: number, inner: number]

function linearOperations(heap: Heap): Partial<Operations> {
  const { kernels } = heap
  const product = (
    rows: number,
    columns: number,
    depth: number,
    a: Tensor,
    aStrides: Strides,
    b: Tensor,
    bStrides: Strides,
  ) => {
    const result = heap.output<Rank.R2>(rows, columns)
    const [left, right, target] = [a, b, result].map(tensor => heap.addressOf(tensor)) as [number, number, number]
    const scratch = heap.scratch(kernels.productScratchBytes())
    kernels.product(rows, columns, depth, left, ...aStrides, right, ...bStrides, target, scratch)
    return result
  }
  return {
    linear: (input, weight, bias) => {
      const [[rows, into], [out]] = [input.shape, weight.shape]
      const plain = product(rows, out, into, input, [into, 1], weight, [1, into])
      if (bias === undefined) {
        return plain
      }
      const sum = tf.add<Tensor2D>(plain, bias)
      plain.dispose()
      return sum
    },
    linearInputGradient: (gradient, weight) => {
      const [[rows, out], [, into]] = [gradient.shape, weight.shape]
      return product(rows, into, out, gradient, [out, 1], weight, [into, 1])
    },
    linearWeightGradient: (gradient, input) => {
      const [[rows, out], [, into]] = [gradient.shape, input.shape]
      return product(out, into, rows, gradient, [1, out], input, [into, 1])
    },
  }
}

/** Row-wise and element-wise operations. */
function rowOperations(heap: Heap): Partial<Operations> {
  const { kernels } = heap
  const at = (tensor: Tensor | undefined) => heap.addressOf(tensor)
  const like = (tensor: Tensor2D): Tensor2D => heap.output<Rank.R2>(...tensor.shape)
  return {
    add: (a, b) => {
      const result = like(a)
      kernels.add(at(a), at(b), at(result), a.size)
      return result
    },
    sumRows: gradient => {
      const [rows, width] = gradient.shape
      const result = heap.output<Rank.R1>(width)
      kernels.sumRows(at(gradient), at(result), rows, width)
      return result
    },
    embed: (table, ids) => {
      const result = heap.output<Rank.R2>(ids.size, table.shape[1])
      kernels.embed(at(table), at(ids), at(result), ids.size, table.shape[1])
      return result
    },
    embedGradient: (gradient, ids, rows) => {
      const width = gradient.shape[1]
      const result = heap.output<Rank.R2>(rows, width)
      kernels.embedGradient(at(gradient), at(ids), at(result), ids.size, width, rows)
      return result
    },
    norm: (kind, input, weight, bias, eps) => {
      const [rows, width] = input.shape
      const [value, statistics] = [like(input), heap.output(rows, 2)]
      const addresses = [at(input), at(weight), at(bias), at(value), at(statistics)]
      kernels.normalize(...addresses, rows, width, eps, Number(kind === 'layer'))
      return { value, saved: [statistics] }
    },
    normGradient: (kind, gradient, input, weight, [statistics]) => {
      const [rows, width] = input.shape
      const result = { input: like(input), weight: heap.output<Rank.R1>(width) }
      const addresses = [gradient, input, weight, statistics, result.input, result.weight].map(at)
      kernels.normalizeGradient(...addresses, rows, width, Number(kind === 'layer'))
      return result
    },
    gelu: input => {
      const result = like(input)
      kernels.gelu(at(input), at(result), input.size)
      return result
    },
    geluGradient: (gradient, input) => {
      const result = like(input)
      kernels.geluGradient(at(gradient), at(input), at(result), input.size)
      return result
    },
    swiglu: (gate, up) => {
      const result = like(gate)
      kernels.swiglu(at(gate), at(up), at(result), gate.size)
      return result
    },
    swigluGradient: (gradient, gate, up) => {
      const result = { gate: like(gate), up: like(up) }
      kernels.swigluGradient(at(gradient), at(gate), at(up), at(result.gate), at(result.up), gate.size)
      return result
    },
    crossEntropy: (logits, targets) => tf.scalar(kernels.crossEntropy(at(logits), at(targets), 0, ...logits.shape, 0)),
    crossEntropyGradient: (logits, targets, scale) => {
      const gradient = like(logits)
      const loss = kernels.crossEntropy(at(logits), at(targets), at(gradient), ...logits.shape, scale)
      return { loss: tf.scalar(loss), gradient }
    },
  }
}

function attentionOperations(heap: Heap): Partial<Operations> {
  const { kernels } = heap
  const at = (tensor: Tensor | undefined) => heap.addressOf(tensor)
  const like = (tensor: Tensor4D): Tensor4D => heap.output<Rank.R4>(...tensor.shape)
  const scratchFor = ([, , time, headWidth]: Tensor4D['shape']) =>
    heap.scratch(kernels.attentionScratchBytes(time, headWidth))
  return {
    toHeads: (input, batch, heads, rotary) => {
      const [time, headWidth] = [input.shape[0] / batch, input.shape[1] / heads]
      const result = heap.output<Rank.R4>(batch, heads, time, headWidth)
      const addresses = [at(input), at(result), at(rotary?.cos), at(rotary?.sin)]
      kernels.exchangeHeads(batch, time, heads, headWidth, ...addresses, hasRowAngles(rotary, time), 1)
      return result
    },
    fromHeads: (input, rotary) => {
      const [batch, heads, time, headWidth] = input.shape
      const result = heap.output<Rank.R2>(batch * time, heads * headWidth)
      const addresses = [at(input), at(result), at(rotary?.cos), at(rotary?.sin)]
      kernels.exchangeHeads(batch, time, heads, headWidth, ...addresses, hasRowAngles(rotary, time), 0)
      return result
    },
    attentionMask: starts => starts,
    attention: (query, key, value, starts) => {
      const [batch, heads, time, headWidth] = query.shape
      const [result, logSums] = [like(query), heap.output(batch, heads, time)]
      const addresses = [query, key, value, starts, result, logSums].map(at)
      kernels.attention(batch, heads, key.shape[1], time, headWidth, ...addresses, scratchFor(query.shape))
      return { value: result, saved: [logSums] }
    },
    attentionGradient: (gradient, query, key, value, starts, [logSums]) => {
      const [batch, heads, time, headWidth] = query.shape
      const result = { query: like(query), key: like(key), value: like(value) }
      const addresses = [query, key, value, starts, logSums, gradient, result.query, result.key, result.value].map(at)
      kernels.attentionGradient(batch, heads, key.shape[1], time, headWidth, ...addresses, scratchFor(query.shape))
      return result
    },
  }
}

const hasRowAngles = (rotary: Rotary | undefined, time: number) =>
  Number(rotary !== undefined && rotary.cos.shape[0] !== time)

/** Updates in place: the returned states are the given tensors. */
function adamW(
  heap: Heap,
  weights: readonly AdamWeight[],
  hyper: AdamHyperparameters,
): ReturnType<Operations['adamW']> {
  const { kernels } = heap
  const norm = Math.sqrt(
    weights.reduce((sum, { gradient }) => sum + kernels.squaredNorm(heap.addressOf(gradient), gradient.size), 0),
  )
  for (const { state, gradient, weightDecay } of weights) {
    const arrays = {
      weight: heap.addressOf(state.weight),
      mean: heap.addressOf(state.mean),
      variance: heap.addressOf(state.variance),
      gradient: heap.addressOf(gradient),
      count: gradient.size,
    }
    updateByKernel(kernels, arrays, hyper, weightDecay, norm)
    gradient.dispose()
  }
  return { norm: tf.scalar(norm), states: weights.map(({ state }) => state) }
}
