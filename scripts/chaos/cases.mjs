/** What the sweep runs: one command a case, its inputs made anew, and the files that it writes. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const here = dirname(fileURLToPath(import.meta.url))
export const MAIN = join(here, '..', '..', 'dist', 'cli', 'main.js')
const PIPELINE = join(here, 'run-pipeline.mjs')
const END = '<|endoftext|>'
const WORDS = 'the stream brings water to a wheel and turns it under pressure day and night while people sleep'.split(
  ' ',
)

/** Makes the inputs of all cases in a folder. */
export function makeInputs(folder) {
  const at = name => join(folder, name)
  const text = line =>
    Array.from({ length: 12 }, (_, word) => WORDS[(line * 7 + word * (line % 5)) % WORDS.length]).join(' ')
  const lines = Array.from({ length: 400 }, (_, line) => JSON.stringify({ text: `${line} ${text(line)}` }))
  const penstock = (...args) => execFileSync(process.execPath, [MAIN, ...args, '--quiet'], { stdio: 'inherit' })
  writeFileSync(at('corpus.jsonl'), `${lines.join('\n')}\n`)
  writeFileSync(at('corpus.jsonl.gz'), gzipSync(`${lines.join('\n')}\n`))
  const faulty = lines.map((line, number) => (number % 50 === 3 ? '{"text":' : number % 50 === 9 ? '{"text":3}' : line))
  writeFileSync(at('faulty.jsonl'), `${faulty.join('\n')}\n`)
  penstock('train-tokenizer', at('corpus.jsonl'), '--vocab-size', '300', '-o', at('tokenizer.json'))
  writeFileSync(at('train.yaml'), TRAINING(folder))
  for (const name of ['one', 'two']) {
    penstock('pack', at('corpus.jsonl'), '-t', at('tokenizer.json'), '--end-of-document', END, '-o', at(`${name}.pbin`))
  }
}

const TRAINING = folder => `
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

/**
 * @param inputs the folder of the inputs
 * @param out the folder of the outputs
 * @returns command lines of Node by the name of the case
 */
export function cases(inputs, out) {
  const from = name => join(inputs, name)
  const to = name => join(out, name)
  const cli = (...args) => [MAIN, ...args, '--quiet']
  const packing = ['-t', from('tokenizer.json'), '--end-of-document', END, '--workers', '1']
  const pipeline = (...stages) => [PIPELINE, JSON.stringify({ name: 'chaos', stages })]
  const quarantine = { faulty: 'quarantine', quarantine: to('faulty.jsonl') }
  const reading = path => [
    { 'read-file': { path, chunk_bytes: 4096 } },
    { 'read-lines': quarantine },
    { 'validate-json': quarantine },
  ]
  const tokenize = { tokenizer: from('tokenizer.json'), end_of_document: END, workers: 1, ...quarantine }
  return {
    index: cli('index', from('corpus.jsonl'), '-o', to('corpus.idx')),
    'pack and index': cli(
      'pack',
      from('corpus.jsonl'),
      ...packing,
      '-o',
      to('corpus.pbin'),
      `--index=${to('corpus.idx')}`,
    ),
    'pack .gz': cli('pack', from('corpus.jsonl.gz'), ...packing, '-o', to('corpus.pbin')),
    'pack with quarantine': cli(
      'pack',
      from('faulty.jsonl'),
      ...packing,
      '-o',
      to('corpus.pbin'),
      '--quarantine',
      to('bad.jsonl'),
    ),
    'pipeline with a journal': pipeline(...reading(from('faulty.jsonl')), {
      fork: [
        [{ 'write-index': { path: to('corpus.idx') } }],
        [
          { 'extract-text': quarantine },
          { 'tokenize-batches': tokenize },
          { 'write-pbin': { path: to('corpus.pbin') } },
        ],
      ],
    }),
    merge: cli('merge', from('one.pbin'), from('two.pbin'), '-o', to('merged.pbin')),
    shuffle: cli('shuffle', from('one.pbin'), '-o', to('shuffled.pbin'), '--seed', '7'),
    'shuffle lines': cli('shuffle', from('corpus.jsonl'), '-o', to('shuffled.jsonl'), '--seed', '7'),
    chunk: cli(
      'chunk',
      from('one.pbin'),
      from('two.pbin'),
      '-o',
      to('chunk.pbin'),
      '--of',
      '3',
      '--chunk',
      '1',
      '--seed',
      '7',
    ),
    filter: cli('filter', from('one.pbin'), '-o', to('filtered.pbin'), '--min-tokens', '10'),
    'train a tokenizer': cli(
      'train-tokenizer',
      from('corpus.jsonl'),
      '--vocab-size',
      '300',
      '-o',
      to('tokenizer.json'),
    ),
    'train a model': cli('train', from('train.yaml'), '--set', `folder=${to('checkpoints')}`),
  }
}
