/**
 * What the main thread, the journal and the disk allow for many workers: `index` and `pack` in one pass, with workers that
 * sleep for as long as they would compute and then reply with as many offsets and tokens. The input is a sparse file, of
 * which nothing is read. Linux only. Needs a build and a GPT-2 tokenizer folder:
 *   npx jiti bench/scaling.ts TOKENIZER_FOLDER [gigabytes, default 8] [folder of the outputs]
 *
 * Sleeping workers need no cores, so that 144 of them run on any machine. Their wake-ups and messages are included in the
 * processor time of the process, but not in that of the main thread.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { printMachine } from './measured-pack.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const [tokenizer, gigabytes = '8', target = tmpdir()] = process.argv.slice(2)
if (tokenizer === undefined) throw new Error('usage: npx jiti bench/scaling.ts TOKENIZER_FOLDER [GB] [folder]')
const WORKERS = (process.env.W ?? '2,16,64,144').split(',').map(Number)
/** Of JSONL per worker and second, as measured by bench/pack.ts on warm workers. */
const BYTES_PER_SECOND = 200e6
const LINE_BYTES = 4096
const BYTES_PER_TOKEN = 4

/** Replaces the module of the workers in a copy of the build. */
const SLEEPING_WORKER = `
import { FaultPacker } from './range-faults.js'
import { workerFunction } from '../worker-function.js'
import { writeChunk as writeChunkOf } from '../write-chunk.js'
export { describeTokenizer } from '../tokenizer/worker-tokenizer.js'
const clock = new Int32Array(new SharedArrayBuffer(4))
const faults = new FaultPacker(0).packed()
export const writeChunk = workerFunction(writeChunkOf)
export default workerFunction(({ part: { start, end }, slot }) => {
  Atomics.wait(clock, 0, 0, (1000 * (end - start)) / ${BYTES_PER_SECOND})
  const first = Math.ceil(start / ${LINE_BYTES})
  const lineCount = Math.ceil(end / ${LINE_BYTES}) - first
  let at = 0
  const take = (View, length) => {
    const view = new View(slot, at, length)
    at += view.byteLength
    return view
  }
  const starts = take(Uint32Array, lineCount).map((_, line) => line * ${LINE_BYTES})
  const ends = take(Uint32Array, lineCount).map((_, line) => (line + 1) * ${LINE_BYTES} - 1)
  const lengths = take(Uint32Array, lineCount).fill(${LINE_BYTES / BYTES_PER_TOKEN})
  const documents = { tokens: take(Uint16Array, lineCount * ${LINE_BYTES / BYTES_PER_TOKEN}), lengths }
  const byteLength = lineCount * ${LINE_BYTES}
  return { byteOffset: first * ${LINE_BYTES}, textBytes: 0, byteLength, lineCount, places: { starts, ends }, faults, documents }
})
`

/** Prints seconds, and processor seconds of the main thread and of the process. The first pass starts the workers. */
const RUN = `
import { readFileSync } from 'node:fs'
const [build, tokenizer, workers, warmUp, corpus, folder] = process.argv.slice(1)
const { checkDefinition, definitionOf, runPipeline } = await import(build + '/pipelines/index.js')
const pass = async path => {
  const stages = [
    { 'read-file': { path } },
    { 'read-lines': {} },
    { 'validate-json': {} },
    {
      fork: [
        [{ 'write-index': { path: folder + '/out.idx', if_exists: 'override' } }],
        [
          { 'extract-text': {} },
          { 'tokenize-batches': { tokenizer, workers: Number(workers) } },
          { 'write-pbin': { path: folder + '/out.pbin', if_exists: 'override' } },
        ],
      ],
    },
  ]
  await runPipeline(checkDefinition(definitionOf({ stages }))[0])
}
const mainThread = () => {
  const fields = readFileSync('/proc/self/task/' + process.pid + '/stat', 'latin1').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
await pass(warmUp)
const [started, main, whole] = [performance.now(), mainThread(), process.cpuUsage()]
await pass(corpus)
const { user, system } = process.cpuUsage(whole)
console.log(JSON.stringify([(performance.now() - started) / 1000, mainThread() - main, (user + system) / 1e6]))
process.exit()
`

const build = join(root, 'node_modules/.cache/penstock-scaling')
const folder = mkdtempSync(join(target, 'penstock-scaling-'))
try {
  rmSync(build, { recursive: true, force: true })
  cpSync(join(root, 'dist'), join(build, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(build, 'package.json'))
  writeFileSync(join(build, 'dist/workers/ranges/range-worker.js'), SLEEPING_WORKER)
  const sparse = (name: string, bytes: number): string => {
    const path = join(folder, name)
    writeFileSync(path, '')
    truncateSync(path, Math.ceil(bytes / LINE_BYTES) * LINE_BYTES)
    return path
  }
  const bytes = Number(gigabytes) * 1e9
  const warmUp = sparse('warm-up.jsonl', bytes / 8)
  const corpus = sparse('corpus.jsonl', bytes)
  printMachine()
  const rows = WORKERS.map(workers => {
    const parameters = [join(build, 'dist'), resolve(tokenizer), String(workers), warmUp, corpus, folder]
    const text = execFileSync(process.execPath, ['--input-type=module', '-e', RUN, ...parameters], { encoding: 'utf8' })
    const [seconds, main, whole] = JSON.parse(text) as [number, number, number]
    return {
      workers,
      'GB/s of the workers': ((workers * BYTES_PER_SECOND) / 1e9).toFixed(1),
      'GB/s measured': (bytes / 1e9 / seconds).toFixed(2),
      'main thread, s per GB': (main / (bytes / 1e9)).toFixed(3),
      'GB/s of the main thread': (bytes / 1e9 / main).toFixed(1),
      'all threads, s per GB': (whole / (bytes / 1e9)).toFixed(3),
    }
  })
  console.table(rows)
} finally {
  rmSync(folder, { recursive: true, force: true })
  rmSync(build, { recursive: true, force: true })
}
