// Files: compares index and pack of both byte by byte, and reads files written here with Modalities' classes.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readIndex } from '../dist/formats/idx.js'
import { decodePbinHeader, pbinIndexOffset, viewTokens } from '../dist/formats/pbin.js'
import { numberConversion } from '../dist/modalities/components/number-conversion.js'
import { blockGeometry } from '../dist/sampling/block.js'
import { pythonRandom } from '../dist/sampling/python-random.js'

const reader = 'Modalities accepts everything that Python parses as JSON; here a record must be valid JSON in UTF-8'

const SIZES = { local_micro_batch_size: 3, gradient_accumulation_steps: 2 }

export function fileChecks({ root, folder, quick }) {
  const shared = join(root, '..', 'shared', 'reference')
  const corpora = { ...madeCorpora(folder, quick), ...referenceCorpora(shared) }
  const penstock = (...args) => spawnSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...args, '--quiet'])
  const checks = Object.entries(corpora).map(([name, corpus]) => indexCheck(name, corpus, folder, penstock))
  const tokenizer = join(shared, 'hf_gpt2')
  if (!existsSync(tokenizer)) {
    process.stdout.write('No tokenizer in ../shared/reference/hf_gpt2: packing is not compared\n')
    return checks
  }
  const packed = Object.entries(corpora).filter(([, corpus]) => corpus.pack)
  return [...checks, ...packed.flatMap(([name, corpus]) => packChecks(name, corpus, folder, tokenizer, penstock))]
}

/** The content of a file, or that it is missing. */
function bytesOf(path) {
  return existsSync(path) ? readFileSync(path) : 'refused'
}

function indexCheck(name, { path, reason }, folder, penstock) {
  const theirs = join(folder, `${name}.reference.idx`)
  const ours = join(folder, `${name}.idx`)
  return {
    name: `index of ${name}`,
    job: { do: 'index', source: path, target: theirs },
    ours: () => {
      penstock('index', path, '--output', ours)
      return [bytesOf(ours), bytesOf(theirs)]
    },
    reason,
  }
}

function packChecks(name, { path }, folder, tokenizer, penstock) {
  const index = join(folder, `${name}.reference.idx`)
  const theirs = join(folder, `${name}.reference.pbin`)
  const ours = join(folder, `${name}.pbin`)
  const settings = {
    src_path: path,
    dst_path: theirs,
    index_path: index,
    jq_pattern: '.text',
    num_cpus: 1,
    eod_token: '<|endoftext|>',
    processing_batch_size: 10,
    raw_samples_queue_size: 300,
    processed_samples_queue_size: 300,
  }
  const config = { pretrained_model_name_or_path: tokenizer, padding: false, truncation: false }
  const component = { component_key: 'tokenizer', variant_key: 'pretrained_hf_tokenizer', config }
  // Packed right away, so that Modalities can read it.
  penstock(
    'pack',
    path,
    '--tokenizer',
    tokenizer,
    '--output',
    ours,
    '--end-of-document',
    '<|endoftext|>',
    '--workers',
    '2',
  )
  return [
    {
      name: `pack of ${name}`,
      job: { do: 'pack', config: { settings, tokenizer: component } },
      ours: answer => [bytesOf(ours), answer.error ?? bytesOf(theirs)],
    },
    {
      name: `tokens of our ${name}.pbin for training`,
      job: { do: 'dataset_tokens', path: ours, sequence_length: 64, dp_degree: 2, ...SIZES },
      ours: answer => [
        numberConversion.num_tokens_from_packed_mem_map_dataset_continuous.compute(
          { dataset_path: ours, sequence_length: 64, dp_degree: 2, reuse_last_target: true, ...SIZES },
          { readTokenCount: path => tokenCount(readFileSync(path)) },
        ),
        answer.value ?? answer.error,
      ],
    },
    {
      name: `steps of the index of ${name}`,
      job: { do: 'index_steps', path: index, num_ranks: 2, ...SIZES },
      ours: answer => [
        numberConversion.num_steps_from_raw_dataset_index.compute(
          { raw_index_path: index, num_ranks: 2, ...SIZES },
          { readDocumentCount: path => readIndex(readFileSync(path)).length / 2 },
        ),
        answer.value ?? answer.error,
      ],
    },
    {
      name: `Modalities reads our ${name}.pbin`,
      job: { do: 'read_packed', path: ours, sequence_length: 64 },
      ours: answer => [readPacked(ours, 64), answer.value ?? answer.error],
    },
  ]
}

function tokenCount(bytes) {
  const { dataBytes, tokenBytes } = decodePbinHeader(bytes, bytes.length)
  return dataBytes / tokenBytes
}

/** The same values as requested from Modalities, read by our reader of the index. */
function readPacked(path, sequenceLength) {
  const bytes = readFileSync(path)
  const { dataBytes, tokenBytes } = decodePbinHeader(bytes, bytes.length)
  const index = readIndex(bytes.subarray(pbinIndexOffset({ dataBytes, tokenBytes })))
  const tokens = viewTokens(new Uint8Array(bytes.subarray(12, 12 + dataBytes)), tokenBytes)
  const geometry = blockGeometry(tokens.length, sequenceLength)
  const start = (geometry.count - 1) * geometry.stride
  return {
    documents: index.length / 2,
    blocks: geometry.count,
    first: [...tokens.subarray(0, index[1] / tokenBytes)],
    last_block: [...tokens.subarray(start, start + geometry.block)],
  }
}

function referenceCorpora(shared) {
  const names = ['lorem_ipsum', 'lorem_ipsum_without_last_newline', 'danish_test_dataset']
  const files = names.map(name => [
    name,
    { path: join(shared, 'modalities', `${name}.jsonl`), pack: name === 'lorem_ipsum' },
  ])
  return Object.fromEntries(files.filter(([, { path }]) => existsSync(path)))
}

/** A large corpus of documents with every kind of character, and one small file per edge case of the format. */
function madeCorpora(folder, quick) {
  const small = {
    'crlf line ends': ['{"text": "a"}\r\n{"text": "b"}\r\n'],
    'no last newline': ['{"text": "a"}\n{"text": "b"}'],
    'blank line': ['{"text": "a"}\n\n{"text": "b"}\n'],
    'trailing blank line': ['{"text": "a"}\n\n'],
    'empty file': ['', 'an empty file has an index without entries; Modalities rejects it'],
    'lone newline': ['\n'],
    'invalid JSON': ['{"text": "a"}\n{"text": }\n'],
    'two objects on a line': ['{"a": 1} {"b": 2}\n'],
    'bare scalars': ['1\n"x"\nnull\n'],
    'duplicate keys': ['{"a": 1, "a": 2}\n'],
    'huge numbers': ['{"a": 123456789012345678901234567890, "b": 1e999}\n'],
    'lone surrogate': ['{"a": "\\ud800"}\n'],
    NaN: ['{"a": NaN}\n', reader],
    Infinity: ['{"a": -Infinity}\n', reader],
    'byte order mark': ['\ufeff{"a": 1}\n', reader],
    'UTF-16': [Buffer.from('{"a": 1}', 'utf16le'), reader],
    'invalid UTF-8': [Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d, 0x0a])],
    'deep nesting': [`${'['.repeat(500)}${']'.repeat(500)}\n`],
    'one record': ['{"text": "only"}\n'],
    'three thousand records': [
      Array.from({ length: 3001 }, (_, at) => `{"text": "${'x'.repeat(at % 300)}"}\n`).join(''),
    ],
  }
  const corpora = Object.fromEntries(
    Object.entries(small).map(([name, [content, reason]]) => [name, { path: written(folder, name, content), reason }]),
  )
  const documents = quick ? 500 : 20_000
  corpora['made corpus'] = { path: written(folder, 'made corpus', madeCorpus(documents)), pack: true }
  return corpora
}

function written(folder, name, content) {
  const path = join(folder, `${name}.jsonl`)
  writeFileSync(path, content)
  return path
}

const PIECES = [
  'the ',
  'quick ',
  "isn't ",
  'Hello',
  ', ',
  '. ',
  '\n',
  '\n\n',
  '  ',
  '\t',
  '12345 ',
  '3.14',
  'ünïcödé ',
  '中文字 ',
  '日本語',
  '😀',
  '👩‍👩‍👧',
  'مرحبا ',
  'हिन्दी ',
  '\u0000',
  '\u001f',
  '\u2028',
  '\u00a0',
  '<|endoftext|>',
  '\\',
  '"',
  '/',
  'é',
  'e\u0301',
  '\ufeff',
  'ZZZZZZZZZZ',
]

/** Reproducible text from a seeded generator; every tenth record has other keys before and after the text. */
function madeCorpus(documents) {
  const random = pythonRandom(2024)
  const lines = Array.from({ length: documents }, (_, number) => {
    const length = 1 + Math.floor(random.random() ** 3 * 200)
    const text = Array.from({ length }, () => PIECES[Math.floor(random.random() * PIECES.length)]).join('')
    const record = number % 10 === 0 ? { id: number, meta: { tags: ['x', null, 1.5e-7] }, text, end: true } : { text }
    const line = JSON.stringify(record)
    return number % 3 === 0
      ? line.replace(/[\u0080-\uffff]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
      : line
  })
  return `${lines.join('\n')}\n`
}
