// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolations of configurations
/** Small, deterministic inputs for the cases of the sweep. */
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const here = dirname(fileURLToPath(import.meta.url))
export const MAIN = join(here, '..', '..', 'dist', 'cli', 'main.js')
export const END = '<|endoftext|>'
/** A vocabulary size beyond 16 bits: a packed file then has 4 bytes per token. */
const WIDE_ID = 70_000
const WORDS = 'the stream brings water to a wheel and turns it under pressure day and night while people sleep'.split(
  ' ',
)
const text = line =>
  Array.from({ length: 12 }, (_, word) => WORDS[(line * 7 + word * (line % 5)) % WORDS.length]).join(' ')

/** Writes the inputs of all cases to a folder. */
export function makeInputs(folder) {
  const at = name => join(folder, name)
  const penstock = (...args) => execFileSync(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 2] })
  const output = ['--end-of-document', END, '--quiet', '-o']
  const lines = Array.from({ length: 400 }, (_, line) => JSON.stringify({ text: `${line} ${text(line)}` }))
  writeFileSync(at('corpus.jsonl'), `${lines.join('\n')}\n`)
  writeFileSync(at('corpus.jsonl.gz'), gzipSync(`${lines.join('\n')}\n`))
  const faulty = lines.map((line, number) => (number % 50 === 3 ? '{"text":' : number % 50 === 9 ? '{"text":3}' : line))
  writeFileSync(at('faulty.jsonl'), `${faulty.join('\n')}\n`)
  const trained = ['--vocab-size', '300', '--quiet', '-o', at('tokenizer.json')]
  penstock('train-tokenizer', at('corpus.jsonl'), ...trained)
  for (const name of ['one', 'two']) {
    penstock('pack', at('corpus.jsonl'), '-t', at('tokenizer.json'), ...output, at(`${name}.pbin`))
  }
  makeFew(lines.slice(0, 40))
  writeFileSync(at('wide.json'), wideTokenizer(at('tokenizer.json')))
  // Without its index, the documents can be recovered only from their end tokens.
  writeFileSync(at('damaged.pbin'), readFileSync(at('few.pbin')).subarray(0, -50))
  writeFileSync(at('train.yaml'), training(folder))
  writeFileSync(at('sinks.yaml'), `${SINKS}${training(folder).replace('"${folder}"', '"${folder}/checkpoints"')}`)
  writeFileSync(at('data.yaml'), `${SINKS}${packing(folder)}`)
  penstock('train', at('train.yaml'), '--set', `folder=${at('checkpoints')}`, '--quiet')
  penstock('convert', at('checkpoints'), at('model'))
  writeFileSync(at('pack.yaml'), packConfig(folder, { source: '', output: '' }))
  writeFileSync(at('chats.jsonl'), `${Array.from({ length: 60 }, (_, number) => chat(number)).join('\n')}\n`)
  writeFileSync(at('reference.yaml'), referenceConfig(folder))

  /** Few documents, because commands that reorder them read each one separately. */
  function makeFew(few) {
    writeFileSync(at('few.jsonl'), `${few.join('\n')}\n`)
    cpSync(at('few.jsonl'), at('more.jsonl'))
    penstock('index', at('few.jsonl'), '-o', at('few.idx'), '--quiet')
    penstock('pack', at('few.jsonl'), '-t', at('tokenizer.json'), ...output, at('few.pbin'))
    cpSync(at('few.pbin'), at('more.pbin'))
    writeFileSync(at('list.txt'), 'few.jsonl\nmore.jsonl\n')
  }
}

function wideTokenizer(file) {
  const tokenizer = JSON.parse(readFileSync(file, 'utf8'))
  tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id: WIDE_ID, content: '<|wide|>' })
  return JSON.stringify(tokenizer)
}

const chat = number =>
  JSON.stringify({
    messages: [
      { role: 'human', content: `${number}?` },
      { role: 'gpt', content: text(number) },
    ],
  })

const training = folder => `
variables: { folder: checkpoints }
pipelines:
  train:
    - shuffle-samples: { path: ${join(folder, 'one.pbin')}, sequence_length: 16, batch_size: 2, epochs: endless }
    - feed-trainer:
        tokenizer: ${join(folder, 'tokenizer.json')}
        model: { sequence_length: 16, layers: 1, heads: 1, width: 8 }
        batch_size: 2
        steps: 3
        backend: cpu
        checkpoint: { folder: "\${folder}", every_steps: 1, keep: 2 }
`

const packing = folder => `
variables: { folder: "." }
stages:
  - read-file: { path: ${join(folder, 'few.jsonl')} }
  - read-lines
  - validate-json
  - fork:
      - [{ write-index: { path: "\${folder}/few.idx" } }]
      - - extract-text
        - tokenize-batches: { tokenizer: ${join(folder, 'tokenizer.json')}, workers: 1 }
        - write-pbin: { path: "\${folder}/few.pbin" }
`

/** Every sink that only writes files. */
const SINKS = `
monitoring:
  folder: "\${folder}/run"
  jsonl: true
  tensorboard: true
  wandb: true
  prometheus: true
  trace: true
  results: true
`

/** A packing configuration of Modalities. */
export function packConfig(folder, { source, output }) {
  return `settings:
  src_path: "${source}"
  dst_path: "${output}"
  index_path: "${source.replace(/\.jsonl$/, '.idx')}"
  jq_pattern: ${source === '' ? '.chat' : '.text'}
  num_cpus: 1
  eod_token: ${END}
  processing_batch_size: 5
  raw_samples_queue_size: 300
  processed_samples_queue_size: 300
tokenizer:
  component_key: tokenizer
  variant_key: pretrained_hf_tokenizer
  config: { pretrained_model_name_or_path: ${folder}, padding: false, truncation: false }
`
}

/** A configuration of Modalities for instruction data. */
export function chatConfig(folder, output) {
  return `settings:
  src_path: ${join(folder, 'chats.jsonl')}
  dst_path: ${output}
  messages_key: messages
  pbin_creation_config_file_path: ${join(folder, 'pack.yaml')}
  split_config: { splitting: { train: 80, val: 20, test: 0 }, seed: 1 }
instruction_data_transformation:
  role_mapping: { human: User, gpt: Assistant }
chat_template_data: { assistant: Assistant }
jinja2_chat_template: "{% for turn in messages %}{{ turn.role }}: {{ turn.content }} {% endfor %}"
`
}

/** A training configuration of Modalities: a smaller version of that of the tests. */
function referenceConfig(folder) {
  const template = readFileSync(join(here, '../../test/modalities/training.yaml'), 'utf8')
  const changes = [
    ['dp_degree: 4', 'dp_degree: 1'],
    ['num_replicas: 4', 'num_replicas: 1'],
    ['num_target_steps: 12', 'num_target_steps: 4'],
    ['evaluation_interval_in_steps: 8', 'evaluation_interval_in_steps: 4'],
    ['checkpointing_interval_in_steps: 4', 'checkpointing_interval_in_steps: 1'],
    ['train_dataset_path: train.pbin', `train_dataset_path: ${join(folder, 'few.pbin')}`],
    ['vocab_size: 256', 'vocab_size: 384'],
    ['n_layer: 2', 'n_layer: 1'],
    [': results.jsonl', ': "${settings.paths.experiments_root_path}/results.jsonl"'],
    [
      /training_progress:.*?\n\ntrain_dataset/s,
      'training_progress: { global_num_seen_tokens: 0, num_seen_steps: 0, num_seen_samples: 0, last_step: -1 }\n\ntrain_dataset',
    ],
    [
      /variant_key: dcp\n {2}config:\n {4}checkpoint_dir_path.*\n {4}raw_app_state:\n.*\n.*\n {6}config:\n/,
      'variant_key: raw\n  config:\n',
    ],
  ]
  return changes.reduce((config, [from, to]) => {
    if (config.search(from) < 0) throw new Error(`the configuration of the tests has no ${from}`)
    return config.replace(from, to)
  }, template)
}
