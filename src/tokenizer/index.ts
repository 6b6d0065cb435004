/** The public surface of `penstock/tokenizer`: no `node:` module behind it, so that it works in a browser bundle. */
export { loadAnyTokenizer } from './fallback.js'
export { compileKernel, type KernelSource, supportsKernel } from './kernel.js'
export { createLineKernel, explainLine, LINE_STATUSES, type LineKernel, type ScannedLines } from './line-kernel.js'
export { createPackKernel, type PackedLines, type PackKernel, type PackKernelOptions } from './pack-kernel.js'
export { type LoadOptions, loadSentencePiece, loadTokenizer, type Tokenizer } from './tokenizer.js'
