/**
 * Records the operations of a computation as nodes of a graph. The recorder is a proxy between tfjs's backend and the
 * compiled binding and forwards every call.
 */
import type { GraphAttribute, GraphNode } from '../../../formats/tensorflow-graph.js'
import {
  attributeTypes,
  type NativeBinding,
  type OpAttribute,
  type TensorMetadata,
  type TensorValues,
} from './binding.js'

/** Nodes by tensor id; a tensor created from values is a constant unless it is declared as an input. */
export class Recording {
  readonly nodes: GraphNode[] = []
  readonly #names = new Map<number, string>()
  readonly #inputs = new Map<TensorValues, string>()

  /** Declares an existing tensor as an input of the graph. */
  addInput(name: string, id: number, dtype: number, shape: readonly number[]): void {
    this.#add(name, 'Placeholder', [], { dtype: { type: dtype }, shape: { shape } })
    this.#names.set(id, name)
  }

  /** Declares the tensor that will be created from this array as an input of the graph. */
  addInputValues(name: string, values: TensorValues): void {
    this.#inputs.set(values, name)
  }

  /** `node:output` of an input, or of a tensor created while recording. */
  nameOf(id: number): string {
    const name = this.#names.get(id)
    if (name === undefined) {
      throw new Error(`tensor ${id} was created before the recording and is not one of its inputs`)
    }
    return name
  }

  addTensor(id: number, shape: readonly number[], dtype: number, values: TensorValues): void {
    const input = this.#inputs.get(values)
    if (input !== undefined) {
      this.addInput(input, id, dtype, shape)
      return
    }
    const content = new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice()
    const name = `c${this.nodes.length}`
    this.#add(name, 'Const', [], { dtype: { type: dtype }, value: { tensor: { type: dtype, shape, content } } })
    this.#names.set(id, name)
  }

  addOperation(
    op: string,
    attributes: readonly OpAttribute[],
    inputs: readonly number[],
    outputs: readonly TensorMetadata[],
  ) {
    const name = `n${this.nodes.length}`
    const given = Object.fromEntries(attributes.map(attribute => [attribute.name, toGraphAttribute(attribute)]))
    // tfjs omits its type, which graphs do not infer.
    const inferred = op === 'ExpandDims' ? { T: { type: outputs[0]!.dtype } } : {}
    this.#add(
      name,
      op,
      inputs.map(id => this.nameOf(id)),
      { ...inferred, ...given },
    )
    outputs.forEach(({ id }, index) => {
      this.#names.set(id, index === 0 ? name : `${name}:${index}`)
    })
  }

  #add(name: string, op: string, inputs: readonly string[], attributes: GraphNode['attributes']): void {
    this.nodes.push({ name, op, inputs, attributes })
  }
}

export class Recorder {
  /** Proxy of the binding for tfjs's backend. */
  readonly binding: NativeBinding
  #recording: Recording | undefined

  constructor(binding: NativeBinding) {
    const createTensor: NativeBinding['createTensor'] = (shape, dtype, values) => {
      const id = binding.createTensor(shape, dtype, values)
      this.#recording?.addTensor(id, shape, dtype, values)
      return id
    }
    const executeOp: NativeBinding['executeOp'] = (name, attributes, inputs, outputs) => {
      const results = binding.executeOp(name, attributes, inputs, outputs)
      this.#recording?.addOperation(name, attributes, inputs, results)
      return results
    }
    this.binding = Object.create(binding, { createTensor: { value: createTensor }, executeOp: { value: executeOp } })
  }

  /** Runs an action and records its operations. */
  record<T>(recording: Recording, action: () => T): T {
    this.#recording = recording
    try {
      return action()
    } finally {
      this.#recording = undefined
    }
  }
}

function toGraphAttribute({ name, type, value }: OpAttribute): GraphAttribute {
  switch (type) {
    case attributeTypes.string:
      return { string: value as string }
    case attributeTypes.int:
      return Array.isArray(value) ? { ints: value as number[] } : { int: value as number }
    case attributeTypes.float:
      return { float: value as number }
    case attributeTypes.bool:
      return { bool: value as boolean }
    case attributeTypes.type:
      return { type: value as number }
    case attributeTypes.shape:
      return { shape: value as number[] }
    default:
      throw new Error(`attribute ${name} of type ${type} cannot be recorded`)
  }
}
