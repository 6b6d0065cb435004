/**
 * Reads the compiled kernel that lies beside the compiled tokenizer. Apart from the tokenizer itself, which touches no
 * files so that it works in a browser bundle.
 */
import { readFileSync } from 'node:fs'
import { supportsKernel } from '../../tokenizer/kernel/kernel-engine.js'

let compiled: WebAssembly.Module | undefined

/** The kernel's module, compiled once a process, or `undefined` where WebAssembly has no 128-bit vectors. */
export function kernelModule(): WebAssembly.Module | undefined {
  if (compiled === undefined && supportsKernel()) {
    compiled = new WebAssembly.Module(readFileSync(new URL('../../tokenizer/kernel.wasm', import.meta.url)))
  }
  return compiled
}
