/** Public surface of `penstock-ml/tokenizer`: depends on no `node:` module, so that it works in a browser bundle. */
export { compileKernel, type KernelSource, supportsKernel } from './kernel/kernel-engine.js'
export {
  createLineKernel,
  explainLine,
  LINE_STATUSES,
  type LineKernel,
  type ScannedLines,
} from './kernel/scan-lines.js'
export { createPackKernel, type PackedLines, type PackKernel, type PackKernelOptions } from './pack-lines.js'
export {
  type EngineInfo,
  type LoadOptions,
  loadAnyTokenizer,
  loadSentencePiece,
  loadTokenizer,
  type Tokenizer,
} from './tokenizer.js'
