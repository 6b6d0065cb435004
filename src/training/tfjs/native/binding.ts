/** The part of the compiled binding of @tensorflow/tfjs-node that is used here. Tensors are identified by number. */

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

export type TensorValues = Float32Array | Int32Array | Uint8Array

export interface NativeBinding {
  readonly TF_Version: string
  isUsingGpuDevice(): boolean
  createTensor(shape: number[], dtype: number, values: TensorValues): number
  deleteTensor(id: number): void
  executeOp(name: string, attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[]
  /** @returns the id of the model */
  loadSavedModel(folder: string, tags: string): number
  deleteSavedModel(model: number): void
  /** Inputs and outputs are named `node:output`, separated by commas. */
  runSavedModel(model: number, inputs: number[], inputNames: string, outputNames: string): TensorMetadata[]
}

/** Types of tensors and attributes, as TensorFlow numbers them. */
export const dtypes = { float32: 1, int32: 3 } as const
export const attributeTypes = { string: 0, int: 1, float: 2, bool: 3, type: 4, shape: 5 } as const
