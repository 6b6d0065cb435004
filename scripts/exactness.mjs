// Verifies on a corpus, for different kinds of vocabularies, that our token ids equal those of the Rust library (npm
// `tokenizers`), and that decoding restores the text, or the output of the Rust library where the format is lossy.
//
//   node scripts/exactness.mjs [--megabytes N] [--processes N] [--only NAME]
//
// Requires a build and scripts/make-bench-corpus.mjs; takes a few minutes on two cores. Exit code 1 on any difference.
import { fork } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { SHAPES } from './exactness/shapes.mjs'
import { trainedFile } from './exactness/train-small.mjs'

const CORPUS = new URL('../data/bench/corpus.jsonl', import.meta.url)
/** Documents per call of the Rust library. */
const BATCH = 100
/** Bytes of the corpus on which vocabularies are trained. */
const TRAINING_BYTES = 1_500_000
/** The same for small vocabularies of the shapes below, one of them for every kind of model and of engine. */
const SMALL_BYTES = 60_000
const SMALL = [
  'Falcon (Digits after ByteLevel)',
  'DeepSeek LLM (end of line)',
  'CLIP',
  'RoBERTa with a space in front',
  'BPE with prefix and suffix',
  'NLLB (BPE, codes in front)',
  'BERT, uncased',
  'BERT, cased',
  'DistilBERT with a template',
  'T5',
  'mT5 (byte fallback)',
  'XLM-R',
  'ALBERT (quotes, NFKD, accents)',
  'WordLevel, punctuation isolated',
]

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: 'Infinity' },
    processes: { type: 'string', default: String(availableParallelism()) },
    only: { type: 'string' },
    /** Set in child processes: a file, and which documents to process. */
    file: { type: 'string' },
    part: { type: 'string', default: '0' },
  },
})
const megabytes = Number(values.megabytes)
const processes = Number(values.processes)
if (!existsSync(CORPUS)) throw new Error('corpus missing; run node scripts/make-bench-corpus.mjs')

/** The texts of the corpus, up to the limit. */
function* texts(limit = megabytes * 1e6) {
  const bytes = readFileSync(CORPUS)
  for (let at = 0; at < Math.min(bytes.length, limit); ) {
    const feed = bytes.indexOf(0x0a, at)
    const end = feed < 0 ? bytes.length : feed
    yield JSON.parse(bytes.toString('utf8', at, end)).text
    at = end + 1
  }
}

/** Vocabularies by name; that of GPT-2 and the trained ones only if their sources exist. */
async function vocabularies() {
  const { createJiti } = await import('jiti')
  const jiti = createJiti(import.meta.url)
  const fixtures = await jiti.import('../test/tokenizer/fixtures.ts')
  const { BYTE_TOKENS, METASPACE, added, llama2Json, startingWith, trainedJson, withAllBytes, withTokens } =
    await jiti.import('../test/tokenizer/trained.ts')
  const { jsonFromTiktoken, PRE_TOKENIZERS } = fixtures
  const sample = [...texts(TRAINING_BYTES)].join('\n')
  const small = [...texts(SMALL_BYTES)]
  const tiktoken = (ranks, kind) => jsonFromTiktoken(ranks, PRE_TOKENIZERS[kind])
  return {
    ...(fixtures.hasGpt2 ? { 'GPT-2': fixtures.gpt2Json } : {}),
    'Llama 3 (cl100k, text begins with a token)': () => {
      const json = withTokens(tiktoken('cl100k_base', 'llama3'), ['<|begin_of_text|>'])
      const added_tokens = [added('<|begin_of_text|>')]
      return { ...json, added_tokens, post_processor: startingWith('<|begin_of_text|>', json) }
    },
    'Qwen 2 (cl100k, NFC)': () => ({ ...tiktoken('cl100k_base', 'qwen2'), normalizer: { type: 'NFC' } }),
    o200k: () => tiktoken('o200k_base', 'o200k'),
    'DeepSeek (cl100k, three splits)': () => tiktoken('cl100k_base', 'deepseek'),
    'byte-level, trained': () => withAllBytes(trainedJson(PRE_TOKENIZERS.starcoder, sample)),
    'Llama 2 (spaces normalized, byte fallback), trained': () => llama2Json(trainedJson(METASPACE, sample)),
    'Metaspace with byte fallback, trained': () => ({
      ...withTokens(trainedJson(METASPACE, sample), ['<unk>', ...BYTE_TOKENS], {
        byte_fallback: true,
        unk_token: '<unk>',
      }),
      decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, METASPACE] },
    }),
    ...Object.fromEntries(SMALL.map(name => [name, () => trainedFile(SHAPES[name], small)])),
  }
}

/** Work of a child process: every `processes`-th batch of the corpus. */
async function judge(file, part) {
  process.env.RAYON_NUM_THREADS = '1'
  const { Tokenizer } = await import('tokenizers')
  const { loadTokenizer } = await import('../dist/tokenizer/tokenizer.js')
  const { kernelModule } = await import('../dist/workers/tokenizer/kernel-module.js')
  const json = readFileSync(file, 'utf8')
  const rust = Tokenizer.fromString(json)
  const ours = loadTokenizer(json, { wasm: kernelModule() })
  const { normalizer, post_processor: post } = JSON.parse(json)
  const form = normalizer?.type === 'NFC' ? 'NFC' : undefined
  const skipSpecialTokens = post?.type === 'TemplateProcessing'
  const sum = {
    how: ours.engineInfo.why,
    documents: 0,
    bytes: 0,
    tokens: 0,
    differences: 0,
    undecodable: 0,
    lossy: 0,
    first: undefined,
  }
  const compare = async batch => {
    for (const [index, encoding] of (await rust.encodeBatch(batch)).entries()) {
      const text = batch[index]
      const expected = encoding.getIds()
      const found = ours.encode(text)
      const isSame = found.length === expected.length && found.every((id, i) => id === expected[i])
      const decoded = ours.decode(found, { skipSpecialTokens })
      const isLossy = decoded !== (form ? text.normalize(form) : text)
      const isBack = !isLossy || decoded === (await rust.decode(expected, skipSpecialTokens))
      sum.documents++
      sum.bytes += Buffer.byteLength(text)
      sum.tokens += found.length
      if (!isSame) sum.differences++
      if (!isBack) sum.undecodable++
      else if (isLossy) sum.lossy++
      if (!isSame || !isBack) sum.first ??= text
    }
  }
  let batch = []
  let number = 0
  const take = async () => {
    if (number++ % processes === part) await compare(batch)
    batch = []
  }
  for (const text of texts()) if (batch.push(text) === BATCH) await take()
  await take()
  return sum
}

function judgeElsewhere(file, part) {
  return new Promise((resolve, reject) => {
    const options = ['--file', file, '--part', part, '--processes', processes, '--megabytes', megabytes].map(String)
    const child = fork(fileURLToPath(import.meta.url), options)
    child.once('message', resolve)
    child.once('exit', code => reject(new Error(`a child process exited with ${code} and without a result`)))
  })
}

async function main() {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-exactness-'))
  let faults = 0
  try {
    for (const [name, make] of Object.entries(await vocabularies())) {
      if (values.only !== undefined && !name.includes(values.only)) continue
      const file = join(folder, 'tokenizer.json')
      writeFileSync(file, JSON.stringify(make()))
      const parts = await Promise.all(Array.from({ length: processes }, (_, part) => judgeElsewhere(file, part)))
      const total = key => parts.reduce((sum, part) => sum + part[key], 0)
      faults += total('differences') + total('undecodable')
      process.stdout.write(
        `${name}: ${total('documents')} documents, ${(total('bytes') / 1e6).toFixed(1)} MB, ${total('tokens')} tokens, ` +
          `${total('differences')} differ, ${total('undecodable')} do not decode to the text, ` +
          `${total('lossy')} of them not in the Rust library either (${parts[0].how})\n`,
      )
      const first = parts.find(part => part.first !== undefined)?.first
      if (first !== undefined) process.stdout.write(`  the first: ${JSON.stringify(first.slice(0, 300))}\n`)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  process.exitCode = faults > 0 ? 1 : 0
}

if (values.file === undefined) await main()
else process.send(await judge(values.file, Number(values.part)))
