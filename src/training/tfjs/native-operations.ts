/**
 * Operations for TensorFlow's native library, where it has a better kernel than tfjs exposes or another formula makes fewer
 * passes over memory. All attributes are given explicitly, because graphs infer none (native/graph-function.ts).
 */
import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import { attributeTypes, dtypes, type OpAttribute } from './native/binding.js'
import { byKeyHead, composedOperations, maskScores, type Operations } from './operations.js'

/** The method of tfjs's backend 'tensorflow' that runs any operation of the library. */
interface OperationBackend {
  executeMultipleOutputs(name: string, attributes: OpAttribute[], inputs: Tensor[], outputs: number): Tensor[]
}

function execute(name: string, attributes: OpAttribute[], inputs: Tensor[], outputs = 1): Tensor[] {
  return (tf.backend() as unknown as OperationBackend).executeMultipleOutputs(name, attributes, inputs, outputs)
}

const floats: OpAttribute = { name: 'T', type: attributeTypes.type, value: dtypes.float32 }

function matMul(a: Tensor2D, b: Tensor2D, transposeA: boolean, transposeB: boolean): Tensor2D {
  const attributes = [
    floats,
    { name: 'transpose_a', type: attributeTypes.bool, value: transposeA },
    { name: 'transpose_b', type: attributeTypes.bool, value: transposeB },
  ]
  return execute('MatMul', attributes, [a, b])[0] as Tensor2D
}

export const nativeOperations: Operations = {
  ...composedOperations,

  linear: (input, weight, bias) =>
    tf.tidy(() => {
      const product = matMul(input, weight, false, true)
      return bias === undefined ? product : (execute('BiasAdd', [floats], [product, bias])[0] as Tensor2D)
    }),
  linearInputGradient: (gradient, weight) => matMul(gradient, weight, false, false),
  linearWeightGradient: (gradient, input) => matMul(gradient, input, true, false),

  norm: (kind, input, weight, bias, eps) => {
    if (kind === 'layer') {
      return composedOperations.norm(kind, input, weight, bias, eps)
    }
    const inverse = tf.tidy(() => tf.rsqrt(tf.add(tf.mean(tf.square(input), 1, true), eps)))
    const value = tf.tidy(() => {
      const scaled = tf.mul<Tensor2D>(tf.mul(input, inverse), weight)
      return bias === undefined ? scaled : tf.add<Tensor2D>(scaled, bias)
    })
    return { value, saved: [inverse] }
  },
  normGradient: (kind, gradient, input, weight, saved) => {
    if (kind === 'layer') {
      return composedOperations.normGradient(kind, gradient, input, weight, saved)
    }
    return tf.tidy(() => {
      const inverse = saved[0]!
      const normal = tf.mul(input, inverse)
      const weighted = tf.mul(gradient, normal)
      // The mean of gradient * weight * normal, over the width, as a product.
      const along = tf.div(tf.matMul(weighted as Tensor2D, tf.expandDims(weight, 1)), weight.size)
      return {
        input: tf.mul<Tensor2D>(tf.sub(tf.mul(gradient, weight), tf.mul(normal, along)), inverse),
        weight: tf.sum<Tensor1D>(weighted, 0),
      }
    })
  },

  // Scales the queries instead of the scores, which are many times larger.
  attention: (query, key, value, mask) => {
    const probabilities = tf.tidy(() => {
      const [batch, heads, time, headWidth] = query.shape
      const scaled = byKeyHead(tf.mul(query, 1 / Math.sqrt(headWidth)), key)
      const scores = tf.matMul(scaled, byKeyHead(key, key), false, true)
      const square: tf.Tensor3D = tf.reshape(scores, [batch * heads, time, time])
      return tf.reshape(tf.softmax(maskScores(square, mask)), scores.shape)
    })
    const result = tf.tidy((): Tensor4D => tf.reshape(tf.matMul(probabilities, byKeyHead(value, value)), query.shape))
    return { value: result, saved: [probabilities] }
  },
  attentionGradient: (gradient, query, key, value, _, [probabilities]) =>
    tf.tidy(() => {
      const [upstream, queries] = [byKeyHead(gradient, key), byKeyHead(query, key)]
      const [keys, values] = [byKeyHead(key, key), byKeyHead(value, value)]
      const slopes = tf.matMul(upstream, values, false, true)
      const along = tf.sum(tf.mul(probabilities!, slopes), 2, true)
      const scores = tf.mul(probabilities!, tf.sub(slopes, along)) as tf.Tensor3D
      const scale = 1 / Math.sqrt(query.shape[3])
      return {
        query: tf.reshape(tf.mul(tf.matMul(scores, keys), scale), query.shape) as Tensor4D,
        key: tf.reshape(tf.mul(tf.matMul(scores, queries, true, false), scale), key.shape) as Tensor4D,
        value: tf.reshape(tf.matMul(probabilities as tf.Tensor3D, upstream, true, false), value.shape) as Tensor4D,
      }
    }),

  crossEntropy: (logits, targets) => tf.tidy(() => sparseCrossEntropy(logits, targets).loss),
  crossEntropyGradient: (logits, targets, scale) =>
    tf.tidy(() => {
      const { loss, slopes, counts } = sparseCrossEntropy(logits, targets)
      return { loss, gradient: tf.mul<Tensor2D>(slopes, tf.mul(tf.expandDims(counts, 1), scale)) }
    }),
}

/** The library computes losses and gradients in one pass; it rejects negative targets, so they are masked. */
function sparseCrossEntropy(logits: Tensor2D, targets: Tensor1D) {
  const counts = tf.cast(tf.greaterEqual(targets, 0), 'float32')
  const labels = tf.maximum(targets, tf.scalar(0, 'int32'))
  const attributes = [floats, { name: 'Tlabels', type: attributeTypes.type, value: dtypes.int32 }]
  const [losses, slopes] = execute('SparseSoftmaxCrossEntropyWithLogits', attributes, [logits, labels], 2)
  return { loss: tf.sum<tf.Scalar>(tf.mul(losses!, counts)), slopes: slopes as Tensor2D, counts }
}
