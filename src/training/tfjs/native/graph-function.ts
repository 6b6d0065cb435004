/**
 * A computation on tensors that TensorFlow runs as one graph: recorded once, then executed by one call, in which the library
 * schedules, fuses and frees. The binding cannot build graphs, but it can load one from a file.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Tensor } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import { writeSavedModel } from '../../../formats/tensorflow-graph.js'
import { dtypes, type NativeBinding, type TensorMetadata, type TensorValues } from './binding.js'
import { type Recorder, Recording } from './recorder.js'

/** The part of tfjs's backend 'tensorflow' that is used here. */
export interface NativeKernelBackend {
  /** The library's ids of tensors; uploads their values if necessary. */
  getInputTensorIds(tensors: readonly Tensor[]): number[]
  createOutputTensor(metadata: TensorMetadata): Tensor
}

/** A tensor, or the array from which the computation creates a tensor. */
export type GraphInput = Tensor | { readonly values: TensorValues; readonly shape: readonly number[] }

export class GraphFunction {
  readonly #binding: NativeBinding
  readonly #model: number
  readonly #inputNames: string
  readonly #outputNames: string

  /**
   * Records a computation by running it once; it must depend only on its inputs.
   * @param compute must pass input arrays unchanged when it creates tensors from them
   */
  constructor(recorder: Recorder, inputs: readonly GraphInput[], compute: () => Tensor[]) {
    this.#binding = recorder.binding
    const recording = new Recording()
    const names = inputs.map((_, index) => `i${index}`)
    inputs.forEach((input, index) => {
      if (input instanceof tf.Tensor) {
        const [id] = backend().getInputTensorIds([input])
        recording.addInput(names[index]!, id!, dtypes[input.dtype as keyof typeof dtypes], input.shape)
      } else {
        recording.addInputValues(names[index]!, input.values)
      }
    })
    const outputs = recorder.record(recording, () =>
      tf.tidy(() => {
        const results = compute()
        const found = backend()
          .getInputTensorIds(results)
          .map(id => recording.nameOf(id))
        // Some may be kept by tf.keep.
        tf.dispose(results)
        return found
      }),
    )
    this.#inputNames = names.map(name => `${name}:0`).join()
    this.#outputNames = outputs.map(name => (name.includes(':') ? name : `${name}:0`)).join()
    this.#model = load(this.#binding, recording)
  }

  /** Inputs must have the same kinds, types and shapes as the recorded ones. */
  run(inputs: readonly GraphInput[]): Tensor[] {
    const created: number[] = []
    const ids = inputs.map(input => {
      if (input instanceof tf.Tensor) {
        return backend().getInputTensorIds([input])[0]!
      }
      const dtype = input.values instanceof Int32Array ? dtypes.int32 : dtypes.float32
      const id = this.#binding.createTensor([...input.shape], dtype, input.values)
      created.push(id)
      return id
    })
    const results = this.#binding.runSavedModel(this.#model, ids, this.#inputNames, this.#outputNames)
    for (const id of created) {
      this.#binding.deleteTensor(id)
    }
    return results.map(metadata => backend().createOutputTensor(metadata))
  }

  dispose(): void {
    this.#binding.deleteSavedModel(this.#model)
  }
}

function backend(): NativeKernelBackend {
  return tf.backend() as unknown as NativeKernelBackend
}

function load(binding: NativeBinding, recording: Recording): number {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-graph-'))
  try {
    writeFileSync(join(folder, 'saved_model.pb'), writeSavedModel(recording.nodes, 'serve'))
    return binding.loadSavedModel(folder, 'serve')
  } finally {
    rmSync(folder, { recursive: true })
  }
}
