// Writes a JSONL file of a given size, for measurements of memory and speed: the lines of a source file repeated, each
// with a unique number.
//
// node scripts/make-big-jsonl.mjs SOURCE.jsonl TARGET.jsonl GIGABYTES
import { createWriteStream, readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

const [source, target, gigabytes] = process.argv.slice(2)
if (source === undefined || target === undefined || !(Number(gigabytes) > 0)) {
  process.stderr.write('usage: node scripts/make-big-jsonl.mjs SOURCE.jsonl TARGET.jsonl GIGABYTES\n')
  process.exit(2)
}
const records = readFileSync(source, 'utf8')
  .trimEnd()
  .split('\n')
  .map(line => JSON.parse(line))

function* chunks() {
  let written = 0
  for (let number = 0; written < Number(gigabytes) * 1e9; ) {
    const lines = []
    for (let count = 0; count < 200; count++, number++) {
      lines.push(`${JSON.stringify({ ...records[number % records.length], number })}\n`)
    }
    const chunk = Buffer.from(lines.join(''))
    written += chunk.length
    yield chunk
  }
}
await pipeline(Readable.from(chunks()), createWriteStream(target))
