/**
 * Tokenizing: Penstock's engines compared with npm `tokenizers` (Rust), `tiktoken`, `gpt-tokenizer` and
 * `@huggingface/tokenizers`, one thread each, on the same documents in the same run. "Cold" means an empty word cache.
 * Needs a build and scripts/make-bench-corpus.mjs; vocabularies.ts trains those that are not byte-level BPE:
 *   npx jiti bench/tokenizer.ts [megabytes for Penstock, 100] [megabytes for peers, 6] [vocabulary]
 * On a busy machine, compare the rates per CPU time.
 */
process.env.RAYON_NUM_THREADS = '1'
process.env.TOKENIZERS_PARALLELISM = 'false'

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { gpt2Json, hasGpt2, jsonFromTiktoken, PRE_TOKENIZERS, type TokenizerJson } from '../test/tokenizer/fixtures.js'
import { type TrainedName, trainedVocabulary } from './vocabularies.js'

const [own = '100', peers = '6', only] = process.argv.slice(2)
const [ourMegabytes, peerMegabytes] = [Number(own), Number(peers)]
const corpus = new URL('../data/bench/corpus.jsonl', import.meta.url)
if (!existsSync(corpus)) throw new Error('no corpus: run node scripts/make-bench-corpus.mjs')

interface Measured {
  readonly vocabulary: string
  readonly who: string
  readonly megabytes: number
  readonly megabytesPerSecond: number
  readonly megabytesPerCpuSecond: number
  readonly timesRust?: number
  readonly differences?: number
}

function documentsOf(megabytes: number): string[] {
  const texts: string[] = []
  let bytes = 0
  for (const line of readFileSync(corpus, 'utf8').split('\n')) {
    if (line === '' || bytes > megabytes * 1e6) break
    const { text } = JSON.parse(line) as { text: string }
    texts.push(text)
    bytes += Buffer.byteLength(text)
  }
  return texts
}

const peerTexts = documentsOf(peerMegabytes)
const megabytesOf = (texts: readonly string[]): number =>
  texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6

async function measure(work: () => unknown, megabytes: number): Promise<{ wall: number; cpu: number }> {
  const cpuBefore = process.cpuUsage()
  const start = performance.now()
  await work()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpuBefore)
  return { wall: megabytes / seconds, cpu: megabytes / ((user + system) / 1e6) }
}

/** Counts the results, so that no call is optimized away. */
function encodeEach(texts: readonly string[], encode: (text: string) => { readonly length: number } | object): number {
  let count = 0
  for (const text of texts) count += 'length' in encode(text) ? 1 : 0
  return count
}

const results: Measured[] = []

async function compare(
  vocabulary: string,
  json: TokenizerJson,
  peers: Record<string, (texts: readonly string[]) => unknown>,
) {
  const record = (who: string, megabytes: number, rates: { wall: number; cpu: number }, more: object = {}): void => {
    results.push({
      vocabulary,
      who,
      megabytes,
      megabytesPerSecond: rates.wall,
      megabytesPerCpuSecond: rates.cpu,
      ...more,
    })
  }
  const file = JSON.stringify(json)
  const { Tokenizer } = await import('tokenizers')
  const rust = Tokenizer.fromString(file)
  const rustIds: number[][] = []
  const peerSize = megabytesOf(peerTexts)
  const rustRates = await measure(async () => {
    for (let i = 0; i < peerTexts.length; i += 200) {
      for (const encoding of await rust.encodeBatch(peerTexts.slice(i, i + 200))) rustIds.push(encoding.getIds())
    }
  }, peerSize)
  record('tokenizers (Rust)', peerSize, rustRates)

  const kernel = loadTokenizer(file, { wasm: kernelModule() })
  const differences = peerTexts.filter((text, i) => kernel.encode(text).join() !== rustIds[i]!.join()).length
  const ourTexts = documentsOf(ourMegabytes)
  const batches = batchesOf(ourTexts)
  const encodeAll = (): void => {
    for (const { bytes, offsets } of batches) kernel.encodeBatch(bytes, offsets)
  }
  const ourSize = megabytesOf(ourTexts)
  for (const state of ['cold', 'warm']) {
    if (state === 'cold') kernel.engine.clearCache()
    const rates = await measure(encodeAll, ourSize)
    record(`Penstock, WebAssembly, ${state}`, ourSize, rates, { timesRust: rates.cpu / rustRates.cpu, differences })
  }
  const strings = await measure(() => encodeEach(ourTexts, text => kernel.encode(text)), ourSize)
  record('Penstock, encode(string), warm', ourSize, strings, { timesRust: strings.cpu / rustRates.cpu })

  const twin = loadTokenizer(file)
  const some = ourTexts.slice(0, Math.ceil(ourTexts.length / 5))
  for (const state of ['cold', 'warm']) {
    const rates = await measure(() => encodeEach(some, text => twin.encode(text)), megabytesOf(some))
    record(`Penstock, TypeScript, ${state}`, megabytesOf(some), rates, { timesRust: rates.cpu / rustRates.cpu })
  }
  for (const [who, encode] of Object.entries(peers)) {
    const texts = peerTexts.slice(0, Math.ceil(peerTexts.length / 3))
    const rates = await measure(() => encode(texts), megabytesOf(texts))
    record(who, megabytesOf(texts), rates, { timesRust: rates.cpu / rustRates.cpu })
  }
}

/** Batches of about 2 MB, as a stage would pass them on. */
function batchesOf(texts: readonly string[]): { bytes: Uint8Array; offsets: Uint32Array }[] {
  const batches: { bytes: Uint8Array; offsets: Uint32Array }[] = []
  for (let i = 0; i < texts.length; i += 400) {
    const parts = texts.slice(i, i + 400).map(text => Buffer.from(text))
    const offsets = new Uint32Array(parts.length + 1)
    for (const [index, part] of parts.entries()) offsets[index + 1] = offsets[index]! + part.length
    batches.push({ bytes: new Uint8Array(Buffer.concat(parts)), offsets })
  }
  return batches
}

const { get_encoding } = await import('tiktoken')
const { Tokenizer: HuggingFace } = await import('@huggingface/tokenizers')
const tiktoken = (name: 'gpt2' | 'cl100k_base' | 'o200k_base') => {
  const encoding = get_encoding(name)
  return (texts: readonly string[]) => encodeEach(texts, text => encoding.encode(text, 'all'))
}
const huggingFace = (json: TokenizerJson) => {
  const tokenizer = new HuggingFace(json, {})
  return (texts: readonly string[]) => encodeEach(texts, text => tokenizer.encode(text))
}

const trained = (name: TrainedName): TokenizerJson => trainedVocabulary(name, documentsOf(60))

const comparisons: Record<string, () => Promise<void>> = {
  gpt2: async () => {
    const json = gpt2Json()
    const { encode } = await import('gpt-tokenizer/encoding/r50k_base')
    await compare('GPT-2', json, {
      tiktoken: tiktoken('gpt2'),
      'gpt-tokenizer': texts => encodeEach(texts, text => encode(text, { allowedSpecial: 'all' })),
    })
    const few = peerTexts.slice(0, 100)
    const slow = huggingFace(json)
    const rates = await measure(() => slow(few), megabytesOf(few))
    const rust = results.find(result => result.who.startsWith('tokenizers'))!
    results.push({
      vocabulary: 'GPT-2',
      who: '@huggingface/tokenizers',
      megabytes: megabytesOf(few),
      megabytesPerSecond: rates.wall,
      megabytesPerCpuSecond: rates.cpu,
      timesRust: rates.cpu / rust.megabytesPerCpuSecond,
    })
  },
  llama3: async () => {
    const { encode } = await import('gpt-tokenizer/encoding/cl100k_base')
    await compare('cl100k, Llama 3 pattern', jsonFromTiktoken('cl100k_base', PRE_TOKENIZERS.llama3!), {
      tiktoken: tiktoken('cl100k_base'),
      'gpt-tokenizer': texts => encodeEach(texts, text => encode(text, { allowedSpecial: 'all' })),
    })
  },
  qwen2: () => compare('cl100k, Qwen 2 pattern', jsonFromTiktoken('cl100k_base', PRE_TOKENIZERS.qwen2!), {}),
  bert: () => compare('BERT, WordPiece 30k', trained('bert'), {}),
  clip: () => compare('CLIP, BPE 49k', trained('clip'), {}),
  t5: () => compare('T5, Unigram 32k', trained('t5'), {}),
  xlmr: () => compare('XLM-R, Unigram 189k', trained('xlm-r'), {}),
  llama2: () => compare('Llama 2, BPE 32k', trained('llama2'), {}),
  o200k: async () => {
    const { encode } = await import('gpt-tokenizer/encoding/o200k_base')
    await compare('o200k', jsonFromTiktoken('o200k_base', PRE_TOKENIZERS.o200k!), {
      tiktoken: tiktoken('o200k_base'),
      'gpt-tokenizer': texts => encodeEach(texts, text => encode(text, { allowedSpecial: 'all' })),
    })
  },
}

/** Runs in a separate process: the heap and the optimized code of one vocabulary would slow down the next. */
function compareInProcess(name: string): void {
  const jiti = fileURLToPath(new URL('../node_modules/jiti/lib/jiti-cli.mjs', import.meta.url))
  const sizes = [String(ourMegabytes), String(peerMegabytes)]
  const out = execFileSync(process.execPath, [jiti, fileURLToPath(import.meta.url), ...sizes, name], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  results.push(...(JSON.parse(out) as Measured[]))
}

if (only !== undefined) {
  await comparisons[only]!()
  process.stdout.write(JSON.stringify(results))
  process.exit()
}
for (const name of Object.keys(comparisons)) if (name !== 'gpt2' || hasGpt2) compareInProcess(name)

const rows = results.map(result => [
  result.vocabulary.padEnd(28),
  result.who.padEnd(30),
  result.megabytes.toFixed(1).padStart(7),
  result.megabytesPerSecond.toFixed(1).padStart(8),
  result.megabytesPerCpuSecond.toFixed(1).padStart(8),
  (result.timesRust === undefined ? '' : `${result.timesRust.toFixed(1)}x`).padStart(8),
  result.differences === undefined ? '' : `${result.differences} of ${peerTexts.length} documents differ`,
])
process.stdout.write(`${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}
${['vocabulary'.padEnd(28), 'who'.padEnd(30), '     MB', '    MB/s', '  by CPU', '  x Rust'].join(' ')}
${rows.map(row => row.join(' ')).join('\n')}
${JSON.stringify({ bench: 'tokenizer', node: process.version, cpu: cpus()[0]?.model, results })}
`)
if (results.some(result => (result.differences ?? 0) > 0)) process.exitCode = 1
