/**
 * Reading a text column of Parquet files, compared with pyarrow on the same files in the same run, in CPU time of one
 * thread: pages decoded into UTF-8 bytes with offsets, which is what a tokenizer gets. Then packing, compared with the same
 * text as JSONL.
 *
 * Needs a build, a corpus (scripts/make-bench-corpus.mjs), a GPT-2 tokenizer folder and the peers environment:
 *   npx jiti bench/parquet.ts TOKENIZER_FOLDER [corpus.jsonl]
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openSource } from '#src/files/source-file'
import { loadPages } from '#src/workers/ranges/load-pages'
import { planParquet } from '#src/workers/ranges/parquet-plan'
import { measuredPack, printMachine } from './measured-pack.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const [tokenizer, corpus = 'data/bench/corpus.jsonl'] = process.argv.slice(2)
if (tokenizer === undefined) throw new Error('usage: npx jiti bench/parquet.ts TOKENIZER_FOLDER [corpus.jsonl]')
const python = execFileSync(process.execPath, [join(root, 'scripts/setup-python.mjs'), 'peers'], {
  encoding: 'utf8',
}).trim()
const folder = mkdtempSync(join(tmpdir(), 'penstock-parquet-'))
const codecs = ['none', 'snappy', 'zstd']
const fileOf = (codec: string): string => join(folder, `${codec}.parquet`)

const WRITE = `
import json, sys, pyarrow as pa, pyarrow.parquet as pq
texts = [json.loads(line)['text'] for line in open(sys.argv[1], encoding='utf8')]
table = pa.table({'id': range(len(texts)), 'text': texts})
for codec in sys.argv[3:]:
    pq.write_table(table, f'{sys.argv[2]}/{codec}.parquet', compression=codec, row_group_size=10000)
with open(sys.argv[2] + '/same.jsonl', 'w', encoding='utf8') as lines:
    for text in texts:
        lines.write(json.dumps({'text': text}, ensure_ascii=False) + '\\n')
print(sum(len(text.encode()) for text in texts))
`

/** CPU seconds of the fastest of five reads. */
const READ = `
import sys, time, pyarrow as pa, pyarrow.parquet as pq
pa.set_cpu_count(1); pa.set_io_thread_count(1)
best = 1e9
for _ in range(5):
    start = time.process_time()
    file = pq.ParquetFile(sys.argv[1])
    for group in range(file.num_row_groups):
        file.read_row_group(group, columns=['text'], use_threads=False)
    best = min(best, time.process_time() - start)
print(best)
`

async function readColumn(path: string): Promise<number> {
  const { handle, stats } = await openSource(path)
  const before = process.cpuUsage()
  const newMemory = (byteLength: number): SharedArrayBuffer => new SharedArrayBuffer(byteLength)
  const limits = { maxLineBytes: 64 << 20, rangeBytes: 2 << 20, newMemory }
  const file = { path, handle, stats, format: 'parquet' as const, field: ['text'], ...limits }
  for await (const { part } of planParquet(file, ['text'], { byteOffset: 0 })) {
    if (part.kind !== 'pages') throw new Error('the column is not read page by page')
    loadPages(part)
  }
  const { user, system } = process.cpuUsage(before)
  await handle.close()
  return (user + system) / 1e6
}

printMachine()
try {
  const megabytes =
    Number(execFileSync(python, ['-c', WRITE, resolve(corpus), folder, ...codecs], { encoding: 'utf8' })) / 1e6
  const reading = []
  for (const codec of codecs) {
    readFileSync(fileOf(codec))
    const theirs = Number(execFileSync(python, ['-c', READ, fileOf(codec)], { encoding: 'utf8' }))
    let ours = Number.POSITIVE_INFINITY
    for (let round = 0; round < 8; round++) ours = Math.min(ours, await readColumn(fileOf(codec)))
    reading.push({
      codec,
      'Penstock MB/s': (megabytes / ours).toFixed(0),
      'pyarrow MB/s': (megabytes / theirs).toFixed(0),
      ratio: (theirs / ours).toFixed(2),
    })
  }
  console.table(reading)
  const sources = [join(folder, 'same.jsonl'), ...codecs.map(fileOf)]
  const rounds = [1, 2, 3].flatMap(() =>
    sources.map(source => ({ source, ...measuredPack(source, resolve(tokenizer)) })),
  )
  const best = sources.map(source =>
    rounds.filter(run => run.source === source).reduce((a, b) => (b.cpuSeconds < a.cpuSeconds ? b : a)),
  )
  console.table(
    best.map(({ source, wallSeconds, cpuSeconds, memory, sha256 }) => ({
      pack: source.slice(folder.length + 1),
      'wall s': wallSeconds.toFixed(2),
      'CPU s': cpuSeconds.toFixed(2),
      'MB/s of CPU time': (megabytes / cpuSeconds).toFixed(1),
      'of JSONL': (best[0]!.cpuSeconds / cpuSeconds).toFixed(2),
      'MB of memory': memory.toFixed(0),
      bytes: sha256 === best[0]!.sha256 ? 'same' : 'DIFFERENT',
    })),
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
