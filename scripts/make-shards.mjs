// Writes many .jsonl.zst shards (or .jsonl, or .jsonl.gz) for measurements of speed and memory: the lines of a source file
// repeated, each with a unique number. Needs the program zstd for .zst.
//
// node scripts/make-shards.mjs SOURCE.jsonl FOLDER COUNT BYTES_PER_SHARD [zst | gz | none]
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const [source, folder, count, bytes, compression = 'zst'] = process.argv.slice(2)
if (!(Number(bytes) > 0)) {
  process.stderr.write(
    'usage: node scripts/make-shards.mjs SOURCE.jsonl FOLDER COUNT BYTES_PER_SHARD [zst | gz | none]\n',
  )
  process.exit(2)
}
const records = readFileSync(source, 'utf8')
  .trimEnd()
  .split('\n')
  .map(line => JSON.parse(line))
mkdirSync(folder, { recursive: true })
const compress = {
  none: text => text,
  gz: gzipSync,
  zst: text => execFileSync('zstd', ['-q', '-c'], { input: text, maxBuffer: 1 << 30 }),
}[compression]
let number = 0
for (let shard = 0; shard < Number(count); shard++) {
  const lines = []
  for (let size = 0; size < Number(bytes); number++) {
    const line = `${JSON.stringify({ ...records[number % records.length], number })}\n`
    lines.push(line)
    size += Buffer.byteLength(line)
  }
  const name = `${String(shard).padStart(5, '0')}.jsonl${compression === 'none' ? '' : `.${compression}`}`
  writeFileSync(join(folder, name), compress(Buffer.from(lines.join(''))))
}
