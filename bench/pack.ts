/**
 * Indexing and packing a JSONL file, compared with Modalities and Gigatoken on the same file in the same run. Penstock
 * is measured as a command, including process startup, and as three runs of the library in one process, both including
 * validation and writing. Gigatoken tokenizes in memory, three calls in one process. Modalities is measured as a
 * command, optionally on a smaller part of the file, which Penstock then also processes. All output files are compared.
 *
 * Needs a build, a corpus (scripts/make-bench-corpus.mjs), a GPT-2 tokenizer folder and the peers environment:
 *   npx jiti bench/pack.ts TOKENIZER_FOLDER [corpus.jsonl] [megabytes for Modalities, default: all]
 */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkDefinition, definitionOf, runPipeline } from '#src/pipelines/index'

const root = fileURLToPath(new URL('..', import.meta.url))
const [tokenizerFolder, corpusArgument, modalitiesMegabytes = 'Infinity'] = process.argv.slice(2)
if (tokenizerFolder === undefined) throw new Error('usage: npx jiti bench/pack.ts TOKENIZER_FOLDER [corpus.jsonl] [MB]')
const tokenizer = resolve(tokenizerFolder)
const corpus = resolve(corpusArgument ?? join(root, 'data/bench/corpus.jsonl'))
const python = execFileSync(process.execPath, [join(root, 'scripts/setup-python.mjs'), 'peers'], {
  encoding: 'utf8',
}).trim()
const folder = mkdtempSync(join(tmpdir(), 'penstock-bench-'))
const at = (name: string): string => join(folder, name)

// Node loads these certificates at every start, which takes 50 ms; the benchmark opens no connections.
delete process.env.NODE_EXTRA_CA_CERTS

interface Row {
  readonly who: string
  readonly what: string
  readonly megabytes: number
  readonly seconds: number
}
const rows: Row[] = []
const megabytesOf = (file: string): number => statSync(file).size / 1e6

function timed(who: string, what: string, file: string, command: string, args: readonly string[]): string {
  const start = performance.now()
  const out = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], cwd: folder })
  rows.push({ who, what, megabytes: megabytesOf(file), seconds: (performance.now() - start) / 1000 })
  return out
}

function ours(what: string, args: readonly string[], file: string): void {
  const main = join(root, 'dist/cli/main.js')
  timed('penstock', what, file, process.execPath, [main, ...args, '--if-exists', 'override', '--quiet'])
}

/** The same as `pack --index` through the library: the first and later runs of an embedding application. */
async function oursInProcess(): Promise<void> {
  const stages = [
    { 'read-file': { path: corpus } },
    { 'read-lines': {} },
    { 'validate-json': {} },
    {
      fork: [
        [{ 'write-index': { path: at('library.idx'), if_exists: 'override' } }],
        [
          { 'extract-text': {} },
          { 'tokenize-batches': { tokenizer, end_of_document: '<|endoftext|>' } },
          { 'write-pbin': { path: at('library.pbin'), if_exists: 'override' } },
        ],
      ],
    },
  ]
  for (let call = 0; call < 3; call++) {
    const [pipeline] = checkDefinition(definitionOf({ stages }))
    const start = performance.now()
    await runPipeline(pipeline!)
    const seconds = (performance.now() - start) / 1000
    const what = `the same in one process, ${call === 0 ? 'first' : 'later'} call`
    rows.push({ who: 'penstock', what, megabytes: megabytesOf(corpus), seconds })
  }
}

/** Writes the first lines of the corpus, about `megabytes`, to a file. */
function firstPart(megabytes: number): string {
  if (megabytes >= megabytesOf(corpus)) return corpus
  const descriptor = openSync(corpus, 'r')
  const bytes = Buffer.alloc(Math.min(megabytes * 1e6, statSync(corpus).size))
  readSync(descriptor, bytes)
  closeSync(descriptor)
  writeFileSync(at('part.jsonl'), bytes.subarray(0, bytes.lastIndexOf(10) + 1))
  return at('part.jsonl')
}

const GIGATOKEN = `
import sys, time
from gigatoken import Tokenizer, JsonlFileSource
tokenizer = Tokenizer(sys.argv[1] + '/tokenizer.json')
for _ in range(3):
    start = time.perf_counter()
    tokenizer.encode_files(JsonlFileSource([sys.argv[2]], field='text'), parallel=True)
    print(time.perf_counter() - start)
`

/** What a Gigatoken user would write to validate the lines and get the same packed file. */
const GIGATOKEN_AND_WRITER = `
import json, pickle, sys, time
import awkward as ak
import numpy as np
from gigatoken import Tokenizer, JsonlFileSource
folder, source, target = sys.argv[1:4]
tokenizer = Tokenizer(folder + '/tokenizer.json')
end = json.load(open(folder + '/tokenizer.json'))['model']['vocab']['<|endoftext|>']
start = time.perf_counter()
with open(source, 'rb') as lines:
    for line in lines:
        json.loads(line)
documents = tokenizer.encode_files(JsonlFileSource([source], field='text'), parallel=True)
counts = ak.num(documents).to_numpy()
tokens = np.insert(ak.flatten(documents).to_numpy(), np.cumsum(counts), end)
ends = 2 * np.cumsum(counts + 1)
starts = np.concatenate([[0], ends[:-1]])
with open(target, 'wb') as out:
    out.write(int(2 * len(tokens)).to_bytes(8, 'little') + (2).to_bytes(4, 'little'))
    out.write(tokens.astype('<u2').tobytes())
    out.write(pickle.dumps(list(zip(starts.tolist(), (ends - starts).tolist()))))
print(time.perf_counter() - start)
`

const packArguments = (file: string, name: string): string[] => [
  ...['pack', file, '-t', tokenizer, '--end-of-document', '<|endoftext|>'],
  ...['-o', at(`${name}.pbin`), '--index', at(`${name}.idx`)],
]

try {
  // Fill the page cache.
  readFileSync(corpus)
  for (let run = 0; run < 3; run++) {
    ours('index + pack, files written', packArguments(corpus, 'ours'), corpus)
    ours('index, strict validation', ['index', corpus, '-o', at('ours2.idx')], corpus)
    const start = performance.now()
    readFileSync(corpus)
    rows.push({
      who: '-',
      what: 'read only',
      megabytes: megabytesOf(corpus),
      seconds: (performance.now() - start) / 1000,
    })
  }
  await oursInProcess()
  const calls = execFileSync(python, ['-c', GIGATOKEN, tokenizer, corpus], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(Number)
  for (const [call, seconds] of calls.entries()) {
    const what = `tokens in memory, ${call === 0 ? 'first call' : 'later call'}`
    rows.push({ who: 'gigatoken', what, megabytes: megabytesOf(corpus), seconds })
  }

  const written = execFileSync(python, ['-c', GIGATOKEN_AND_WRITER, tokenizer, corpus, at('gigatoken.pbin')])
  rows.push({
    who: 'gigatoken',
    what: 'and a validating writer in Python',
    megabytes: megabytesOf(corpus),
    seconds: Number(written),
  })
  const isSame = readFileSync(at('gigatoken.pbin')).equals(readFileSync(at('ours.pbin')))
  console.log(`.pbin of Gigatoken with that writer and of Penstock: ${isSame ? 'identical' : 'DIFFERENT'}`)

  const part = firstPart(Number(modalitiesMegabytes))
  const modalities = join(python, '..', 'modalities')
  timed('modalities', 'index', part, modalities, [
    'data',
    'create_raw_index',
    part,
    '--index_path',
    at('modalities.idx'),
  ])
  writeFileSync(
    at('pack.yaml'),
    `settings: {src_path: ${part}, dst_path: ${at('modalities.pbin')}, index_path: ${at('modalities.idx')}, jq_pattern: .text,
  num_cpus: ${cpus().length}, eod_token: "<|endoftext|>", processing_batch_size: 10, raw_samples_queue_size: 300, processed_samples_queue_size: 300}
tokenizer: {component_key: tokenizer, variant_key: pretrained_hf_tokenizer,
  config: {pretrained_model_name_or_path: ${tokenizer}, padding: false, truncation: false}}
`,
  )
  timed('modalities', 'pack', part, modalities, ['data', 'pack_encoded_data', at('pack.yaml')])
  for (let run = 0; run < 3; run++) {
    ours('part for modalities: index + pack', packArguments(part, 'part'), part)
    ours('part for modalities: index', ['index', part, '-o', at('part2.idx')], part)
  }
  for (const extension of ['idx', 'pbin']) {
    const same = readFileSync(at(`part.${extension}`)).equals(readFileSync(at(`modalities.${extension}`)))
    console.log(`.${extension} of Modalities and Penstock: ${same ? 'identical' : 'DIFFERENT'}`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** Throughput of the fastest run. */
function best(who: string, what: string): number {
  return Math.max(
    ...rows.filter(row => row.who === who && row.what.startsWith(what)).map(row => row.megabytes / row.seconds),
  )
}

const whole = best('penstock', 'index + pack, files')
const report = {
  machine: `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}`,
  corpus: { file: corpus, megabytes: megabytesOf(corpus) },
  rows: rows.map(row => ({ ...row, megabytesPerSecond: row.megabytes / row.seconds })),
  ratios: {
    'index + pack over modalities pack':
      best('penstock', 'part for modalities: index + pack') / best('modalities', 'pack'),
    'index over modalities index': best('penstock', 'part for modalities: index') / best('modalities', 'index'),
    'index + pack over gigatoken, first call': whole / best('gigatoken', 'tokens in memory, first'),
    'index + pack in one process over gigatoken, first call':
      best('penstock', 'the same in one process, first') / best('gigatoken', 'tokens in memory, first'),
    'index + pack over gigatoken and a validating writer': whole / best('gigatoken', 'and a validating writer'),
    'index + pack over gigatoken, later calls':
      best('penstock', 'the same in one process, later') / best('gigatoken', 'tokens in memory, later'),
    'index + pack, a whole process, over gigatoken, later calls': whole / best('gigatoken', 'tokens in memory, later'),
  },
}
console.table(
  report.rows.map(({ who, what, megabytes, seconds, megabytesPerSecond }) => ({
    who,
    what,
    MB: megabytes.toFixed(1),
    s: seconds.toFixed(2),
    'MB/s': megabytesPerSecond.toFixed(1),
  })),
)
console.table(Object.fromEntries(Object.entries(report.ratios).map(([name, ratio]) => [name, ratio.toFixed(2)])))
console.log(JSON.stringify(report))
