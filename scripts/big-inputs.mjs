// Packs unusually large inputs with fused and with separate stages, each in its own process, and checks the peak memory
// (VmHWM, Linux). Run manually: it takes several minutes and needs 2 GB in the temporary folder.
//
// node scripts/big-inputs.mjs [substring of the names of cases] [--json FILE for scripts/reliability.mjs]
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const END = '<|endoftext|>'
const MAX_GROWTH_MIB = 40

/** Writes parts in order; a number is a hole of that many bytes. */
function write(path, parts) {
  const file = openSync(path, 'w')
  let at = 0
  for (const part of parts) {
    if (typeof part === 'number') at += part
    else at += writeSync(file, part, 0, part.length, at)
  }
  closeSync(file)
  truncateSync(path, at)
}

function* lines(count) {
  for (let line = 0; line < count; line += 10_000) {
    const some = Array.from(
      { length: Math.min(10_000, count - line) },
      (_, index) => `{"text":"line ${line + index}"}\n`,
    )
    yield Buffer.from(some.join(''))
  }
}

function* document(bytes) {
  const words = Buffer.from('some words of a document '.repeat(40_000))
  yield Buffer.from('{"text":"')
  for (let written = 0; written < bytes; written += words.length) yield words
  yield Buffer.from('"}\n')
}

function* concatenated(...generators) {
  for (const generator of generators) yield* generator
}

/** Cases, each with the expected counts, or the expected error code. */
const CASES = [
  {
    name: 'a line of 1 GB',
    parts: () => [...lines(1000), 1e9, Buffer.from('\n'), ...lines(1000)],
    expected: { documents: 2000, rejected: 1 },
    mib: 256,
  },
  {
    name: 'a valid document of 600 MB',
    parts: () => concatenated(lines(1000), document(600e6), lines(1000)),
    expected: { documents: 2000, rejected: 1 },
    mib: 256,
  },
  {
    name: '10 GB of NULs',
    parts: () => [...lines(1000), 1e10],
    expected: { documents: 1000, rejected: 1 },
    mib: 256,
  },
  {
    name: '10 GB of NULs, rejected',
    parts: () => [1e10],
    faulty: 'fail',
    expected: { code: 'LINE_TOO_LONG' },
    mib: 256,
  },
  { name: '1 million lines', parts: () => lines(1e6), expected: { documents: 1e6, rejected: 0 }, mib: 350 },
  { name: '10 million lines', parts: () => lines(1e7), expected: { documents: 1e7, rejected: 0 }, mib: 350 },
]

/** Runs in a child process: index and pack, then read the packed file. */
async function measure(folder, fuse, faulty) {
  const { checkDefinition, definitionOf, runPipeline } = await import('../dist/pipelines/index.js')
  const at = name => join(folder, name)
  const run = async stages => {
    const [pipeline] = checkDefinition(definitionOf({ stages }))
    return runPipeline(pipeline, { fuse })
  }
  const started = performance.now()
  const result = {}
  try {
    const { stages } = await run([
      { 'read-file': { path: at('in.jsonl') } },
      { 'read-lines': { faulty } },
      { 'validate-json': { faulty } },
      {
        fork: [
          [{ 'write-index': { path: at('out.idx'), if_exists: 'override' } }],
          [
            { 'extract-text': { faulty } },
            { 'tokenize-batches': { tokenizer: at('tokenizer.json'), end_of_document: END, workers: 2, faulty } },
            { 'write-pbin': { path: at('out.pbin'), if_exists: 'override' } },
          ],
        ],
      },
    ])
    result.rejected = stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
    result.documents = stages.at(-1).stats.recordsIn
    if (result.documents > 0) {
      await run([
        { 'read-pbin': { path: at('out.pbin') } },
        { 'write-pbin': { path: at('again.pbin'), if_exists: 'override' } },
      ])
    }
  } catch (error) {
    result.code = error.code
    result.message = error.message
  }
  result.seconds = (performance.now() - started) / 1000
  const { userCPUTime, systemCPUTime } = process.resourceUsage()
  result.cpuSeconds = (userCPUTime + systemCPUTime) / 1e6
  result.mib = Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
  process.stdout.write(JSON.stringify(result))
}

function runAll(filter, jsonFile) {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-big-'))
  const rows = []
  try {
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(bytesAlone()))
    for (const { name, parts, faulty = 'skip', expected, mib } of CASES.filter(({ name }) => name.includes(filter))) {
      write(join(folder, 'in.jsonl'), parts())
      for (const way of ['fused', 'apart']) {
        const arguments_ = [fileURLToPath(import.meta.url), '--measure', folder, way, faulty]
        const result = JSON.parse(execFileSync(process.execPath, arguments_, { encoding: 'utf8' }))
        const asExpected = Object.entries(expected).every(([key, value]) => result[key] === value)
        const got = Object.keys(expected).map(key => `${key} ${result[key]}`)
        if (result.code !== undefined && expected.code === undefined) got.push(`${result.code}: ${result.message}`)
        rows.push({
          case: name,
          stages: way,
          got: got.join(', '),
          MiB: Math.round(result.mib),
          limit: mib,
          seconds: result.seconds.toFixed(1),
          'CPU s': result.cpuSeconds.toFixed(1),
          passed: asExpected && result.mib <= mib,
        })
        console.log(rows.at(-1))
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  console.table(rows)
  for (const way of ['fused', 'apart']) {
    const [few, many] = ['1 million lines', '10 million lines'].map(name =>
      rows.find(row => row.case === name && row.stages === way),
    )
    if (few === undefined || many === undefined) continue
    const growth = many.MiB - few.MiB
    rows.push({ case: 'growth from 1 to 10 million lines', stages: way, passed: growth <= MAX_GROWTH_MIB })
    console.log(`${way}: 10 million lines use ${growth} MiB more than 1 million (limit ${MAX_GROWTH_MIB})`)
  }
  if (jsonFile !== undefined) {
    const counts = rows.map(row => ({ name: `${row.case}, ${row.stages}`, tried: 1, failed: row.passed ? 0 : 1 }))
    writeFileSync(jsonFile, `${JSON.stringify(counts, null, 2)}\n`)
  }
  process.exitCode = rows.every(({ passed }) => passed) ? 0 : 1
}

/** A byte-level vocabulary without merges. */
function bytesAlone() {
  let next = 256
  const isShown = byte => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  const tokens = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isShown(byte) ? byte : next++))
  const level = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  return {
    version: '1.0',
    added_tokens: [{ id: 256, content: END, special: true, normalized: false }],
    normalizer: null,
    pre_tokenizer: level,
    post_processor: level,
    decoder: level,
    model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: [] },
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { measure: { type: 'boolean' }, json: { type: 'string' } },
})
const [first = '', way, faulty] = positionals
if (values.measure) await measure(first, way === 'fused', faulty)
else runAll(first, values.json)
