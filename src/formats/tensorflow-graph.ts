/**
 * Writes a TensorFlow graph as the protobuf file saved_model.pb. Source: tensorflow/core/protobuf (saved_model.proto,
 * meta_graph.proto) and tensorflow/core/framework (graph, node_def, attr_value, tensor .proto).
 *
 *   SavedModel    1 schema version (1)   2 MetaGraphDef
 *   MetaGraphDef  1 MetaInfoDef { 4 tag }   2 GraphDef
 *   GraphDef      1 NodeDef, repeated   4 VersionDef { 1 producer }
 *   NodeDef       1 name   2 op   3 input, repeated, `node` or `node:output`   5 attribute { 1 key  2 AttrValue }
 *   AttrValue     1 list   2 string   3 int   4 float   5 bool   6 type   7 TensorShapeProto   8 TensorProto
 *   TensorProto   1 type   2 TensorShapeProto   4 content, little-endian
 */
import { concatBytes } from './bytes.js'
import { bytesField, floatField, intField, messageField, stringField } from './write-protobuf.js'

export type GraphAttribute =
  | { readonly string: string }
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly bool: boolean }
  | { readonly type: number }
  | { readonly shape: readonly number[] }
  | { readonly tensor: { readonly type: number; readonly shape: readonly number[]; readonly content: Uint8Array } }

export interface GraphNode {
  readonly name: string
  readonly op: string
  readonly inputs: readonly string[]
  readonly attributes: Readonly<Record<string, GraphAttribute>>
}

/** GraphDef version of TensorFlow 2.8, which all later versions read. */
const producer = 1087

export function writeSavedModel(nodes: readonly GraphNode[], tag: string): Uint8Array {
  const graph = [...nodes.map(writeNode), messageField(4, intField(1, producer))]
  return concatBytes([intField(1, 1), messageField(2, messageField(1, stringField(4, tag)), messageField(2, ...graph))])
}

function writeNode({ name, op, inputs, attributes }: GraphNode): Uint8Array {
  return messageField(
    1,
    stringField(1, name),
    stringField(2, op),
    ...inputs.map(input => stringField(3, input)),
    ...Object.entries(attributes).map(([key, value]) =>
      messageField(5, stringField(1, key), messageField(2, writeAttribute(value))),
    ),
  )
}

function writeAttribute(value: GraphAttribute): Uint8Array {
  if ('string' in value) return stringField(2, value.string)
  if ('int' in value) return intField(3, value.int)
  if ('ints' in value) return messageField(1, ...value.ints.map(int => intField(3, int)))
  if ('float' in value) return floatField(4, value.float)
  if ('bool' in value) return intField(5, Number(value.bool))
  if ('type' in value) return intField(6, value.type)
  if ('shape' in value) return messageField(7, ...writeShape(value.shape))
  const { type, shape, content } = value.tensor
  return messageField(8, intField(1, type), messageField(2, ...writeShape(shape)), bytesField(4, content))
}

function writeShape(shape: readonly number[]): Uint8Array[] {
  return shape.map(size => messageField(2, intField(1, size)))
}
