/**
 * Packing many compressed shards, compared with the same text uncompressed: wall-clock time, CPU time and largest memory of
 * whole commands with two workers. The packed files are compared.
 *
 * Needs a build, a corpus (scripts/make-bench-corpus.mjs), a GPT-2 tokenizer folder and the program zstd:
 *   npx jiti bench/shards.ts TOKENIZER_FOLDER [corpus.jsonl] [shards, default 200] [bytes per shard, default 1000000]
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { measuredPack, printMachine } from './measured-pack.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const [tokenizer, corpus = 'data/bench/corpus.jsonl', shards = '200', bytes = '1000000'] = process.argv.slice(2)
if (tokenizer === undefined) throw new Error('usage: npx jiti bench/shards.ts TOKENIZER_FOLDER [corpus.jsonl]')
const folder = mkdtempSync(join(tmpdir(), 'penstock-shards-'))
const megabytes = (Number(shards) * Number(bytes)) / 1e6

printMachine()
try {
  const kinds = ['none', 'gz', 'zst']
  for (const kind of kinds) {
    const target = join(folder, kind)
    const maker = join(root, 'scripts/make-shards.mjs')
    execFileSync(process.execPath, [maker, resolve(corpus), target, shards, bytes, kind])
  }
  // Alternating, so that a busy moment of the machine affects all.
  const rounds = [1, 2, 3].flatMap(() =>
    kinds.map(kind => ({ kind, ...measuredPack(join(folder, kind), resolve(tokenizer)) })),
  )
  const best = kinds.map(kind => {
    const runs = rounds.filter(run => run.kind === kind)
    return runs.reduce((a, b) => (b.cpuSeconds < a.cpuSeconds ? b : a))
  })
  console.table(
    best.map(({ kind, wallSeconds, cpuSeconds, memory, sha256 }) => ({
      shards: kind,
      'wall s': wallSeconds.toFixed(2),
      'CPU s': cpuSeconds.toFixed(2),
      'MB/s of CPU time': (megabytes / cpuSeconds).toFixed(1),
      'of uncompressed': (best[0]!.cpuSeconds / cpuSeconds).toFixed(2),
      'MB of memory': memory.toFixed(0),
      bytes: sha256 === best[0]!.sha256 ? 'same' : 'DIFFERENT',
    })),
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
