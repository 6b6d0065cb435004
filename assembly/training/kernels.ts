/**
 * Kernels of a training step, on the heap of TensorFlow.js' wasm backend: AssemblyScript with 128-bit SIMD. The module
 * imports that heap as its memory and owns none of it: every buffer, scratch included, is given by the caller as an
 * address. There are no static data and no calls out but one, so nothing of the backend's is ever overwritten.
 *
 * Matrices are row-major f32. Strides are in elements. Widths are multiples of 4, those of heads of 8; counts of rows,
 * times and products may be anything. Sums run in one fixed order: the same input gives the same bits.
 */
export { attention, attentionGradient, attentionScratchBytes, exchangeHeads } from './attention'
export { adamW, squaredNorm } from './optimizer'
export { product, productScratchBytes } from './product'
export {
  add,
  crossEntropy,
  embed,
  embedGradient,
  gelu,
  geluGradient,
  normalize,
  normalizeGradient,
  sumRows,
  swiglu,
  swigluGradient,
} from './rows'
