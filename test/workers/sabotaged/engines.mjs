/**
 * Sabotages the engines in a worker, for tests: a text that contains `DEATHbyEXIT` makes the worker die in that way
 * when an engine processes it; `DEATHbyEXITonce` only the first time.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KernelLines } from '#src/tokenizer/kernel/lines'
import { FastTokenizer } from '#src/tokenizer/tokenizer'
import { WordCounts } from '#src/tokenizer/train/index'

const WAYS = {
  EXIT: () => process.exit(3),
  THROW: () => {
    throw new Error('out of order')
  },
  HEAP: () => {
    const kept = []
    for (;;) kept.push(new Array(1 << 24).fill(kept.length))
  },
  TRAP: () => new WebAssembly.Instance(new WebAssembly.Module(TRAPPING)).exports.trap(),
  LOOP: () => {
    for (;;);
  },
}

/** (module (func (export "trap") unreachable)) */
const TRAPPING = Uint8Array.from([
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0],
  ...[7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1, 3, 0, 0, 11],
])

function dieIfAsked(bytes, start = 0, end = bytes.length) {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
  for (const [, way, once] of text.matchAll(/DEATHby(EXIT|THROW|HEAP|TRAP|LOOP)(once)?/g)) {
    const flag = join(tmpdir(), `penstock-death-${process.pid}-${way}`)
    if (once !== undefined && existsSync(flag)) continue
    if (once !== undefined) writeFileSync(flag, '')
    WAYS[way]()
  }
}

/** Makes a method check its bytes before it runs. */
function sabotage(prototype, method, rangeOf) {
  const original = prototype[method]
  prototype[method] = function (...args) {
    dieIfAsked(...rangeOf(...args))
    return original.apply(this, args)
  }
}

const asGiven = (bytes, start, end) => [bytes, start, end]
sabotage(KernelLines.prototype, 'pack', asGiven)
sabotage(KernelLines.prototype, 'scan', asGiven)
sabotage(FastTokenizer.prototype, 'encodeInPlace', (bytes, offsets) => [bytes, offsets[0], offsets.at(-1)])
sabotage(FastTokenizer.prototype, 'encodeBytes', asGiven)
sabotage(WordCounts.prototype, 'add', asGiven)
