/**
 * Where the processor time of packing goes, in nanoseconds per byte of JSONL, and how many words take which path. The steps
 * inside the kernel are differences between builds that end after one of them, and the counts come from a build with
 * counters (assembly/text/instrument.ts). One thread; each time is the least of several passes. Linux only. Needs a build
 * and a GPT-2 tokenizer folder:
 *   npx jiti bench/breakdown.ts TOKENIZER_FOLDER [corpus.jsonl ...]
 */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BlockChecksums } from '#src/formats/checksum'
import { checkDefinition, definitionOf, runPipeline } from '#src/pipelines/index'
import { createPackKernel, type PackKernel } from '#src/tokenizer/pack-lines'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { printMachine } from './measured-pack.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const [tokenizer, ...given] = process.argv.slice(2)
if (tokenizer === undefined) throw new Error('usage: npx jiti bench/breakdown.ts TOKENIZER_FOLDER [corpus.jsonl ...]')
const corpora = given.length === 0 ? [join(root, 'data/bench/corpus.jsonl')] : given
const PASSES = 3
const RANGE_BYTES = 2 << 20
const END_OF_DOCUMENT = '<|endoftext|>'
const json = JSON.parse(readFileSync(join(tokenizer, 'tokenizer.json'), 'utf8'))
const eodId = json.model.vocab[END_OF_DOCUMENT] as number

const folder = mkdtempSync(join(tmpdir(), 'penstock-breakdown-'))

/** Compiles the kernel, with constants for the compiler. */
function compiled(name: string, ...constants: readonly string[]): WebAssembly.Module {
  const file = join(folder, `${name}.wasm`)
  const text = join(root, 'assembly/text')
  const entries = [join(text, 'kernel.ts'), join(text, 'instrument.ts')]
  const options = [
    '--config',
    join(text, 'asconfig.json'),
    '-o',
    file,
    ...constants.flatMap(constant => ['-u', constant]),
  ]
  execFileSync(process.execPath, [join(root, 'node_modules/assemblyscript/bin/asc.js'), ...entries, ...options])
  return new WebAssembly.Module(readFileSync(file))
}

const kernelOf = (wasm: WebAssembly.Module): PackKernel =>
  createPackKernel({ tokenizer: loadTokenizer(json, { wasm }), field: 'text', eodId, width: 2 })

/** Calls `work` with ranges of complete lines, which it finds at the start of the kernel's input. */
function eachRange(path: string, kernel: PackKernel, work: (bytes: Uint8Array) => void): void {
  const size = statSync(path).size
  const file = openSync(path, 'r')
  for (let at = 0; at < size; ) {
    const input = kernel.input(RANGE_BYTES).subarray(0, RANGE_BYTES)
    const read = readSync(file, input, 0, RANGE_BYTES, at)
    const end = at + read === size ? read : input.subarray(0, read).lastIndexOf(10) + 1
    work(input.subarray(0, end))
    at += end
  }
  closeSync(file)
}

/** Least processor time of several calls, in seconds. */
function least(work: () => void, passes = PASSES): number {
  return Math.min(
    ...Array.from({ length: passes }, () => {
      const before = process.cpuUsage()
      work()
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 1e6
    }),
  )
}

function mainThreadSeconds(): number {
  const fields = readFileSync(`/proc/self/task/${process.pid}/stat`, 'latin1').split(') ').at(-1)!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Processor time of the main thread in a run with warm workers. */
async function mainThread(path: string): Promise<number> {
  const stages = [
    { 'read-corpus': { sources: [path] } },
    { 'tokenize-batches': { tokenizer, end_of_document: END_OF_DOCUMENT, workers: 2 } },
    { 'write-pbin': { path: join(folder, 'out.pbin'), if_exists: 'override' } },
  ]
  await runPipeline(checkDefinition(definitionOf({ stages }))[0]!)
  const before = mainThreadSeconds()
  await runPipeline(checkDefinition(definitionOf({ stages }))[0]!)
  return mainThreadSeconds() - before
}

const COUNTS = [
  'not in the first bucket',
  'of them long',
  'of them in the other bucket',
  'merged',
  'evictions',
  'words',
]

function countsOf(path: string, wasm: WebAssembly.Module): Record<string, string> {
  const instance = loadTokenizer(json, { wasm })
  const kernel = createPackKernel({ tokenizer: instance, field: 'text', eodId, width: 2 })
  const { exports } = (instance as unknown as { engine: { exports: { counted(what: number): number } } }).engine
  const take = (): number[] => COUNTS.map((_, what) => exports.counted(what))
  eachRange(path, kernel, bytes => void kernel.pack(bytes))
  const cold = take()
  eachRange(path, kernel, bytes => void kernel.pack(bytes))
  const warm = take().map((count, what) => count - cold[what]!)
  const perThousand = (counts: readonly number[]): string[] =>
    counts.slice(0, -1).map(count => ((1000 * count) / counts.at(-1)!).toFixed(2))
  const [first, later] = [perThousand(cold), perThousand(warm)]
  return Object.fromEntries(COUNTS.slice(0, -1).map((name, what) => [name, `${first[what]} / ${later[what]}`]))
}

/** Copies, checksums and writes of the tokens of a file, in seconds. */
function outputSeconds(path: string, kernel: PackKernel): [copy: number, checksum: number, write: number] {
  const pieces: Uint8Array[] = []
  eachRange(path, kernel, bytes => {
    const { tokens } = kernel.pack(bytes)
    const piece = new Uint8Array(new SharedArrayBuffer(tokens.byteLength))
    piece.set(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength))
    pieces.push(piece)
  })
  const target = new Uint8Array(new SharedArrayBuffer(Math.max(...pieces.map(piece => piece.length))))
  const file = openSync(join(folder, 'tokens'), 'w')
  const write = (): void => {
    let at = 0
    for (const piece of pieces) at += writeSync(file, piece, 0, piece.length, at)
  }
  const seconds: [number, number, number] = [
    least(() => {
      for (const piece of pieces) target.set(piece)
    }),
    least(() => {
      const checksums = new BlockChecksums()
      for (const piece of pieces) checksums.update(piece)
    }),
    // The first pass allocates the pages, as in a run.
    least(write, 1),
  ]
  closeSync(file)
  return seconds
}

try {
  const full = compiled('full')
  const partial = ['copying', 'splitting', 'hashing', 'fetching'].map((name, step) =>
    compiled(name, `STOP_AT=${step + 1}`),
  )
  const counting = compiled('counting', 'COUNTING=1')
  printMachine()
  const times: Record<string, Record<string, string>> = {}
  const counts: Record<string, Record<string, string>> = {}
  for (const path of corpora) {
    const kernel = kernelOf(full)
    const read = least(() => eachRange(path, kernel, () => {}))
    const scan = least(() => eachRange(path, kernel, bytes => void kernel.scan(bytes)))
    const pack = (measured: PackKernel, passes?: number): number =>
      least(() => eachRange(path, measured, bytes => void measured.pack(bytes)), passes)
    const steps = partial.map(wasm => pack(kernelOf(wasm)))
    const cold = pack(kernel, 1)
    const warm = pack(kernel)
    const [copy, checksum, write] = outputSeconds(path, kernel)
    const perByte = (seconds: number): string => ((seconds / statSync(path).size) * 1e9).toFixed(2)
    const [copied, split, hashed, fetched] = steps as [number, number, number, number]
    times[path] = {
      'page cache': perByte(read),
      JSON: perByte(scan - read),
      'copying texts': perByte(copied - scan),
      splitting: perByte(split - copied),
      'keys and hashes': perByte(hashed - split),
      'fetching buckets': perByte(fetched - hashed),
      'look-ups and tokens': perByte(warm - fetched),
      'merges, when cold': perByte(cold - warm),
      'copying tokens': perByte(copy),
      checksums: perByte(checksum),
      'file writes': perByte(write),
      'main thread': perByte(await mainThread(path)),
    }
    counts[path] = countsOf(path, counting)
  }
  console.log('nanoseconds per byte of JSONL')
  console.table(times)
  console.log('words per thousand, cold / warm')
  console.table(counts)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
