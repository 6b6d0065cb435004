// Writes data/bench/corpus.jsonl: real text for benchmarks from the installed packages (manuals, type declarations,
// sources, and sources inside source maps), split at line ends into distinct documents of up to 8 kB, ordered by hash.
// Repeats documents only if there are too few, and reports it.
//   node scripts/make-bench-corpus.mjs [megabytes, default 110] [output file]
import { createHash } from 'node:crypto'
import { createWriteStream, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const packages = join(root, 'node_modules')
const wantedBytes = Number(process.argv[2] ?? 110) * 1e6
const target = process.argv[3] ?? join(root, 'data/bench/corpus.jsonl')
const DOCUMENT_BYTES = 8000

/** Excludes minified code and data, which no one would train on. */
function isReadable(text) {
  const lines = text.split('\n')
  return text.length / lines.length < 150 && !lines.some(line => line.length > 10_000)
}

function* documentsOf(text) {
  let document = ''
  for (const line of text.split('\n')) {
    if (document.length + line.length > DOCUMENT_BYTES && document.length > 0) {
      yield document
      document = ''
    }
    document += `${line}\n`
  }
  if (document.trim().length > 0) yield document
}

/** The text of a file, or the sources inside a source map. */
function textsOf(path) {
  const content = readFileSync(path, 'utf8').replaceAll('\ufffd', '')
  if (!path.endsWith('.map')) return [content]
  try {
    return (JSON.parse(content).sourcesContent ?? []).filter(text => typeof text === 'string')
  } catch {
    return []
  }
}

const documents = new Map()
for (const entry of readdirSync(packages, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(md|txt|ts|mts|cts|js|mjs|cjs|html|map)$|^readme$/i.test(entry.name)) continue
  const path = join(entry.parentPath, entry.name)
  for (const text of textsOf(path).filter(isReadable)) {
    for (const document of documentsOf(text)) {
      const hash = createHash('sha256').update(document).digest('hex')
      documents.set(hash, { source: relative(packages, path), text: document })
    }
  }
}

mkdirSync(dirname(target), { recursive: true })
const output = createWriteStream(target)
const order = [...documents.keys()].sort()
let bytes = 0
let textBytes = 0
let count = 0
while (bytes < wantedBytes) {
  const line = `${JSON.stringify({ id: count, ...documents.get(order[count % order.length]) })}\n`
  if (!output.write(line)) await new Promise(resolve => output.once('drain', resolve))
  bytes += Buffer.byteLength(line)
  textBytes += Buffer.byteLength(documents.get(order[count % order.length]).text)
  count++
}
await new Promise(resolve => output.end(resolve))
const repeats =
  count > order.length
    ? `; the ${order.length} distinct documents repeat ${(count / order.length).toFixed(2)} times`
    : ''
console.log(
  `${target}: ${(bytes / 1e6).toFixed(1)} MB, ${(textBytes / 1e6).toFixed(1)} MB of text, ${count} documents${repeats}`,
)
