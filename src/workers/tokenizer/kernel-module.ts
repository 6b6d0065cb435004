/**
 * Loads the compiled kernel from the tokenizer's folder. Separate from the tokenizer, which accesses no files so that
 * it can be bundled for browsers.
 */
import { readFileSync } from 'node:fs'
import { supportsKernel } from '../../tokenizer/kernel/kernel-engine.js'

let compiled: WebAssembly.Module | undefined

/** The kernel's module, compiled once per thread, or `undefined` without support for WebAssembly SIMD. */
export function kernelModule(): WebAssembly.Module | undefined {
  if (compiled === undefined && supportsKernel()) {
    compiled = new WebAssembly.Module(readFileSync(new URL('../../tokenizer/kernel.wasm', import.meta.url)))
  }
  return compiled
}
