/**
 * Kernels of a training step, on the heap of TensorFlow.js' wasm backend: AssemblyScript with 128-bit SIMD. The module
 * imports that heap as its memory and allocates nothing: the caller passes the address of every buffer, including scratch.
 * The module has no static data and one import, so it never overwrites the backend's data.
 *
 * Matrices are row-major f32. Strides are in elements. Widths are multiples of 4, head widths of 8; numbers of rows and
 * positions are arbitrary. Sums have a fixed order: the same input gives the same bits.
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
