/**
 * Weights, moments and gradients in one WebAssembly memory shared by threads. Each thread updates its share of all weights
 * in place, with its own instance of the kernels (assembly/training/optimizer.ts).
 */
import type { ModelOptions, OptimizerOptions } from '../options.js'
import { type WeightSpec, weightSpecs } from '../weights.js'
import { type AdamHyperparameters, type AdamWKernel, decayOf, updateByKernel } from './adamw.js'
import { readKernels } from './kernel-files.js'

const elementBytes = Float32Array.BYTES_PER_ELEMENT
const pageBytes = 65536
/** Aligns every weight to a cache line, because kernels use whole vectors and threads should not share a line. */
const alignment = 16

interface Kernels extends AdamWKernel {
  accumulate(sums: number, terms: number, count: number): void
  squaredNorm(values: number, count: number): number
}

/** Range of a weight in each array, in elements. */
interface WeightRange {
  readonly start: number
  readonly end: number
  readonly weightDecay: number
}

export interface SharedStateSetup {
  readonly model: ModelOptions
  readonly optimizer: OptimizerOptions
  readonly threads: number
  /** Memory of another instance; by default a new one is allocated. */
  readonly memory?: WebAssembly.Memory
}

export class SharedState {
  readonly memory: WebAssembly.Memory
  readonly weights: ReadonlyMap<string, Float32Array>
  readonly means: ReadonlyMap<string, Float32Array>
  readonly variances: ReadonlyMap<string, Float32Array>
  /** Indexed by thread. */
  readonly gradients: readonly ReadonlyMap<string, Float32Array>[]
  readonly #ranges: readonly WeightRange[]
  readonly #length: number
  readonly #threads: number
  readonly #kernels: Kernels

  static async open(setup: SharedStateSetup): Promise<SharedState> {
    const { model, threads } = setup
    const pages = Math.ceil((layout(weightSpecs(model)).length * elementBytes * (threads + 3)) / pageBytes)
    const memory = setup.memory ?? new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
    const { instance } = await WebAssembly.instantiate(await readKernels('update.wasm'), { env: { memory } })
    return new SharedState(setup, memory, instance.exports as unknown as Kernels)
  }

  private constructor({ model, optimizer, threads }: SharedStateSetup, memory: WebAssembly.Memory, kernels: Kernels) {
    const specs = weightSpecs(model)
    const { starts, length } = layout(specs)
    this.memory = memory
    this.#kernels = kernels
    this.#threads = threads
    this.#length = length
    this.#ranges = specs.map((spec, index) => {
      const start = starts[index]!
      return { start, end: start + elementCount(spec), weightDecay: decayOf(spec, optimizer) }
    })
    const views = (array: number) =>
      new Map(
        specs.map((spec, index) => {
          const address = this.#address(array, starts[index]!)
          return [spec.name, new Float32Array(memory.buffer, address, elementCount(spec))]
        }),
      )
    this.weights = views(arrays.weights)
    this.means = views(arrays.means)
    this.variances = views(arrays.variances)
    this.gradients = Array.from({ length: threads }, (_, thread) => views(arrays.gradients + thread))
  }

  /**
   * Sums this thread's share of the gradients of the given threads into those of the first.
   * @returns the sum of the squared gradients
   */
  sumGradients(share: number, threads: readonly number[]): number {
    const [from, to] = this.#range(share)
    const [first, ...others] = threads.map(thread => this.#address(arrays.gradients + thread, from))
    for (const terms of others) {
      this.#kernels.accumulate(first!, terms, to - from)
    }
    return this.#kernels.squaredNorm(first!, to - from)
  }

  /** Updates this thread's share of the weights from the gradients that `sumGradients` summed into the given thread's. */
  update(share: number, thread: number, hyper: AdamHyperparameters, gradientNorm: number): void {
    const [from, to] = this.#range(share)
    for (const { start, end, weightDecay } of this.#ranges) {
      const [first, last] = [Math.max(start, from), Math.min(end, to)]
      if (first < last) {
        const part = {
          weight: this.#address(arrays.weights, first),
          mean: this.#address(arrays.means, first),
          variance: this.#address(arrays.variances, first),
          gradient: this.#address(arrays.gradients + thread, first),
          count: last - first,
        }
        updateByKernel(this.#kernels, part, hyper, weightDecay, gradientNorm)
      }
    }
  }

  #address(array: number, element: number): number {
    return (array * this.#length + element) * elementBytes
  }

  /** Range of the elements that a thread updates. */
  #range(share: number): readonly [number, number] {
    const cut = (part: number) => Math.floor((this.#length * part) / this.#threads / alignment) * alignment
    return [cut(share), cut(share + 1)]
  }
}

/** Order of the arrays in memory; the gradients of all threads come last. */
const arrays = { weights: 0, means: 1, variances: 2, gradients: 3 } as const

function layout(specs: readonly WeightSpec[]): { starts: number[]; length: number } {
  const starts: number[] = []
  let length = 0
  for (const spec of specs) {
    starts.push(length)
    length += Math.ceil(elementCount(spec) / alignment) * alignment
  }
  return { starts, length }
}

function elementCount({ shape }: WeightSpec): number {
  return shape.reduce((product, size) => product * size, 1)
}
