/**
 * Validating lines: Penstock's scanner compared with JSON.parse after strict UTF-8 decoding, one thread each, on the
 * same chunks in the same run. Needs a build and scripts/make-bench-corpus.mjs: `npx jiti bench/scan.ts`. On a busy
 * machine, compare the rates per CPU time.
 */
import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { createLineKernel, type LineKernel } from '#src/tokenizer/kernel/scan-lines'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'

const corpus = new URL('../data/bench/corpus.jsonl', import.meta.url)
if (!existsSync(corpus)) throw new Error('no corpus: run node scripts/make-bench-corpus.mjs')
const file = readFileSync(corpus)
const CHUNK_BYTES = 1 << 20

/** Chunks of complete lines, about 1 MB each. */
const chunks: Uint8Array[] = []
for (let start = 0; start < file.length; ) {
  const end = file.lastIndexOf(0x0a, Math.min(start + CHUNK_BYTES, file.length) - 1) + 1
  chunks.push(new Uint8Array(file.subarray(start, end)))
  start = end
}

const scanAll = (kernel: LineKernel, some: readonly Uint8Array[]): number =>
  some.reduce((faults, chunk) => faults + kernel.scan(chunk).statuses.filter(status => status !== 0).length, 0)

/** Reads the chunks from the page cache into the kernel's memory, as a worker does. */
function scanFile(kernel: LineKernel, some: readonly Uint8Array[]): number {
  const descriptor = openSync(corpus, 'r')
  let position = 0
  let faults = 0
  for (const { length } of some) {
    const input = kernel.input(length)
    position += readSync(descriptor, input, 0, length, position)
    faults += kernel.scan(input, 0, length).statuses.filter(status => status !== 0).length
  }
  closeSync(descriptor)
  return faults
}

function parseAll(some: readonly Uint8Array[]): number {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let faults = 0
  for (const chunk of some) {
    for (const line of decoder.decode(chunk).split('\n')) {
      try {
        if (line !== '') JSON.parse(line)
      } catch {
        faults++
      }
    }
  }
  return faults
}

const kernel = createLineKernel({ wasm: kernelModule() })
const twin = createLineKernel()
const few = chunks.slice(0, 20)
const contenders: [string, readonly Uint8Array[], () => number][] = [
  ['Penstock, WebAssembly', chunks, () => scanAll(kernel, chunks)],
  ['Penstock, WebAssembly, file', chunks, () => scanFile(kernel, chunks)],
  ['Penstock, TypeScript', few, () => scanAll(twin, few)],
  ['JSON.parse', chunks, () => parseAll(chunks)],
]
const results = contenders.map(([who, some, work]) => {
  work()
  const cpuBefore = process.cpuUsage()
  const start = performance.now()
  const faults = work()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpuBefore)
  const megabytes = some.reduce((sum, chunk) => sum + chunk.length, 0) / 1e6
  return {
    who,
    megabytes,
    megabytesPerSecond: megabytes / seconds,
    megabytesPerCpuSecond: (megabytes * 1e6) / (user + system),
    faults,
  }
})
const peer = results.at(-1)!
const rows = results.map(
  ({ who, megabytes, megabytesPerSecond, megabytesPerCpuSecond, faults }) =>
    `${who.padEnd(28)} ${megabytes.toFixed(1).padStart(7)} ${megabytesPerSecond.toFixed(0).padStart(8)} ` +
    `${megabytesPerCpuSecond.toFixed(0).padStart(8)} ${(megabytesPerCpuSecond / peer.megabytesPerCpuSecond).toFixed(2).padStart(8)}x  ${faults} faults`,
)
process.stdout.write(`${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}
${'who'.padEnd(28)}      MB     MB/s   by CPU  x JSON.parse
${rows.join('\n')}
${JSON.stringify({ bench: 'scan', node: process.version, cpu: cpus()[0]?.model, results })}
`)
