/** The public surface of `penstock/tokenizer`: no `node:` module behind it, so that it works in a browser bundle. */
export { loadAnyTokenizer } from './fallback.js'
export { compileKernel, type KernelSource, supportsKernel } from './kernel.js'
export {
  createLineKernel,
  createPackKernel,
  explainLine,
  LINE_STATUSES,
  type LineKernel,
  type PackedLines,
  type PackKernel,
  type PackKernelOptions,
  type ScannedLines,
} from './pack-kernel.js'
export { type LoadOptions, loadSentencePiece, loadTokenizer, type Tokenizer } from './tokenizer.js'
