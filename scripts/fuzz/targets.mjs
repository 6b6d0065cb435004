/**
 * Every parser of untrusted bytes, with a valid sample to mutate; for the tests and for long fuzzing runs. Invalid input
 * is rejected with a PenstockError, or with `false` by parsers that return it.
 */

import { extractBatch } from '../../dist/formats/extract.js'
import { readIndex } from '../../dist/formats/idx.js'
import { compileJq } from '../../dist/formats/jq.js'
import { LineSplitter } from '../../dist/formats/jsonl.js'
import { createPbinIndexReader, decodePbinHeader, encodePbinHeader, pbinIndexOffset } from '../../dist/formats/pbin.js'
import { writePairList } from '../../dist/formats/pickle.js'
import { decodeSafetensors, encodeSafetensors } from '../../dist/formats/safetensors.js'
import { parseYamlTree } from '../../dist/modalities/yaml/yaml-tree.js'
import { checkDefinition, readDefinition } from '../../dist/pipelines/index.js'
import { readPlan } from '../../dist/tokenizer/file/tokenizer-json.js'
import { loadSentencePiece, loadTokenizer } from '../../dist/tokenizer/index.js'
import { splitterFor } from '../../dist/tokenizer/patterns/pretokenize.js'
import { countWords, toTokenizerJson, trainMerges, WordCounts } from '../../dist/tokenizer/train/index.js'
import { kernelModule } from '../../dist/workers/tokenizer/kernel-module.js'

const utf8 = text => new TextEncoder().encode(text)
const text = bytes => new TextDecoder().decode(bytes)

function packed() {
  const data = new Uint8Array(64).map((_, place) => place)
  const index = writePairList([
    [0, 20],
    [20, 44],
  ])
  return Buffer.concat([encodePbinHeader({ dataBytes: 64, tokenBytes: 2 }), data, index])
}

function readPacked(bytes) {
  const header = decodePbinHeader(bytes.subarray(0, 12), bytes.length)
  const reader = createPbinIndexReader(header, () => {})
  reader.feed(bytes.subarray(pbinIndexOffset(header)))
  reader.end()
}

function readRecords(bytes) {
  const splitter = new LineSplitter({ source: '-', maxLineBytes: 1 << 16 })
  for (const batch of [...splitter.push(bytes), ...splitter.finish()]) {
    if (extractBatch(batch, compileJq('.text'), '.text').faults.length > 0) return false
  }
  return true
}

const RECORDS = '{"text":"a\\u00e9\\ud83d\\ude00 b","n":[1,2.5e3,null,true,{"x":"y"}]}\n{"text":"two"}\r\n'
const DEFINITION = `
name: index
variables: { input: corpus.jsonl, n: 3 }
stages:
  - read-file: &file { path: "\${input}" }
  - read-lines: { limit: "\${n}" }
  - validate-json
  - write-index: { path: corpus.idx, if_exists: override }
`
const CONFIGURATION = `
settings: { seed: 42, lr: 1e-3, paths: { data: '\${modalities_env:experiment_id}' } }
train: &train
  component_key: dataset
  variant_key: packed_mem_map_dataset_continuous
  config: { sequence_length: '\${settings.seed}', flag: yes }
eval: { <<: *train }
`

/** A small tokenizer.json, UTF-8. */
function smallTokenizer() {
  const counts = new WordCounts()
  const words = utf8('the stream turns the wheel and the wheel turns the stone')
  countWords(splitterFor([{ kind: 'gpt2' }]), words, Uint32Array.of(0, words.length), counts)
  return utf8(toTokenizerJson(trainMerges(counts.data(), { vocabSize: 280 })))
}

/** @param sentencePiece bytes of a small .model file */
export function targets({ sentencePiece }) {
  const tokenizer = smallTokenizer()
  const tensors = [{ name: 'a', dtype: 'F32', shape: [2, 2], data: new Float32Array(4) }]
  return {
    '.idx': {
      sample: writePairList([
        [0, 10],
        [11, 200],
        [300, 70_000],
      ]),
      parse: bytes => readIndex(bytes),
    },
    '.pbin': { sample: packed(), parse: readPacked },
    safetensors: { sample: encodeSafetensors(tensors), parse: bytes => decodeSafetensors(bytes) },
    JSONL: { sample: utf8(RECORDS), parse: readRecords },
    'jq filter': {
      sample: utf8('.a.b[0] // (.c | "x\\(.d)") | select(. != null)'),
      parse: bytes => compileJq(text(bytes)) !== null,
    },
    'tokenizer.json': { sample: tokenizer, parse: bytes => loadTokenizer(text(bytes)).encode('a b') },
    'tokenizer.json, by the kernel': { sample: tokenizer, parse: bytes => readPlan(bytes, kernelModule()) },
    'SentencePiece .model': { sample: sentencePiece, parse: bytes => loadSentencePiece(bytes).encode('a b') },
    definition: { sample: utf8(DEFINITION), parse: bytes => checkDefinition(readDefinition(text(bytes), 'fuzz.yaml')) },
    "Modalities' YAML": { sample: utf8(CONFIGURATION), parse: bytes => parseYamlTree(text(bytes), 'fuzz.yaml') },
  }
}

/** Bytes with a special meaning in some format. */
const TELLING = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x0d, 0x22, 0x5b, 0x5d, 0x7b, 0x7d, 0x28, 0x2e, 0x95, 0x26, 0x2a, 0x3a]

/**
 * A damaged copy: some bytes changed, removed, duplicated or inserted.
 * @param random generator of numbers in [0, 1)
 */
export function mutated(sample, random) {
  let bytes = Uint8Array.from(sample)
  const place = () => Math.floor(random() * (bytes.length + 1))
  const changes = 1 + Math.floor(random() * 4)
  for (let change = 0; change < changes; change++) {
    const [from, to] = [place(), place()].sort((a, b) => a - b)
    const kind = Math.floor(random() * 5)
    if (kind === 0 && from < bytes.length) bytes[from] ^= 1 << Math.floor(random() * 8)
    else if (kind === 1 && from < bytes.length) bytes[from] = TELLING[Math.floor(random() * TELLING.length)]
    else if (kind === 2) bytes = Uint8Array.from([...bytes.subarray(0, from), ...bytes.subarray(to)])
    else if (kind === 3) bytes = Uint8Array.from([...bytes.subarray(0, to), ...bytes.subarray(from)])
    else bytes = bytes.subarray(0, to).slice()
  }
  return bytes
}
