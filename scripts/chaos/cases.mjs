/**
 * Cases of the sweep, one command each. A case is an array of arguments, or an object:
 *
 *   args         arguments of Node
 *   before       prepares the output folder before a run
 *   interrupted  kill a first run after this fraction of its calls, and sweep over the run that resumes it
 *   isLog        whether a file is a log; a fault in a log must not end the run
 *   rewritten    files that a run replaces repeatedly, each with a function that validates intermediate content
 */
import { cpSync, existsSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chatConfig, END, MAIN, packConfig } from './inputs.mjs'

const PIPELINE = join(dirname(fileURLToPath(import.meta.url)), 'run-pipeline.mjs')

/**
 * @param inputs folder of the inputs
 * @param out folder of the outputs
 * @returns the cases by name
 */
export function cases(inputs, out) {
  const named = commands(inputs, out)
  return Object.fromEntries(
    Object.entries(named).map(([name, command]) => [name, Array.isArray(command) ? { args: command } : command]),
  )
}

function commands(inputs, out) {
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
  const journaled = pipeline(...reading(from('faulty.jsonl')), {
    fork: [
      [{ 'write-index': { path: to('corpus.idx') } }],
      [{ 'extract-text': quarantine }, { 'tokenize-batches': tokenize }, { 'write-pbin': { path: to('corpus.pbin') } }],
    ],
  })
  const pack = (source, ...more) => cli('pack', from(source), ...packing, '-o', to('corpus.pbin'), ...more)
  const data = (command, ...args) => cli('data', command, ...args)
  const training = cli('train', from('train.yaml'), '--set', `folder=${to('checkpoints')}`)
  const chunkOf = ending => [
    ...['--input_file_list_path', from('list.txt'), '--input_data_root_path', inputs, '--num_chunks', '2'],
    ...['--chunk_id', '1', '--global_seed', '7', '--output_chunk_file_path', to(`chunk${ending}`)],
  ]
  const shuffled = ending => [
    ...['--input_data_path', from(`few${ending}`), '--output_data_path', to(`shuffled${ending}`), '--seed', '7'],
  ]
  /** Copies inputs to the names of the outputs, like the results of an earlier run. */
  const copies = files => () => {
    for (const [name, old] of Object.entries(files)) cpSync(from(old), to(name))
  }
  return {
    index: cli('index', from('corpus.jsonl'), '-o', to('corpus.idx')),
    'index .gz': cli('index', from('corpus.jsonl.gz'), '-o', to('corpus.idx')),
    'pack and index': pack('corpus.jsonl', `--index=${to('corpus.idx')}`),
    'pack .gz': pack('corpus.jsonl.gz'),
    'pack with quarantine': pack('faulty.jsonl', '--quarantine', to('bad.jsonl')),
    'pack with 4 bytes per token': pack('few.jsonl', '-t', from('wide.json')),
    'pack over old files': {
      args: pack('corpus.jsonl', `--index=${to('corpus.idx')}`, '--if-exists', 'override'),
      before: copies({ 'corpus.pbin': 'few.pbin', 'corpus.idx': 'few.idx' }),
    },
    'pipeline with a journal': journaled,
    'resumed pipeline': { args: journaled, interrupted: 0.6 },
    merge: cli('merge', from('one.pbin'), from('two.pbin'), '-o', to('merged.pbin')),
    'merge over an old file': {
      args: cli('merge', from('few.pbin'), from('more.pbin'), '-o', to('merged.pbin'), '--if-exists', 'override'),
      before: copies({ 'merged.pbin': 'one.pbin' }),
    },
    shuffle: cli('shuffle', from('one.pbin'), '-o', to('shuffled.pbin'), '--seed', '7'),
    'shuffle lines': cli('shuffle', from('corpus.jsonl'), '-o', to('shuffled.jsonl'), '--seed', '7'),
    chunk: cli(
      ...['chunk', from('one.pbin'), from('two.pbin'), '-o', to('chunk.pbin')],
      ...['--of', '3', '--chunk', '1', '--seed', '7'],
    ),
    filter: cli('filter', from('one.pbin'), '-o', to('filtered.pbin'), '--min-tokens', '10'),
    'repair an index': [MAIN, 'repair', from('few.idx'), '--source', from('few.jsonl'), '-o', to('repaired.idx')],
    'repair a packed file': [
      ...[MAIN, 'repair', from('damaged.pbin'), '-o', to('repaired.pbin')],
      ...['-t', from('tokenizer.json'), '--end-of-document', END],
    ],
    'train a tokenizer': cli(
      ...['train-tokenizer', from('corpus.jsonl'), '--vocab-size', '300', '-o', to('tokenizer.json')],
    ),
    'train a model': training,
    'resumed training': { args: training, interrupted: 0.6 },
    'train a model with sinks': {
      args: cli('train', from('sinks.yaml'), '--set', `folder=${out}`),
      isLog: file => file.startsWith('run/'),
    },
    'run a definition with sinks': {
      args: cli('run', from('data.yaml'), '--set', `folder=${out}`),
      isLog: file => file.startsWith('run/'),
    },
    'convert a checkpoint': [MAIN, 'convert', from('checkpoints'), to('model')],
    'convert back': [
      ...[MAIN, 'convert', '--back', from('model'), to('checkpoints')],
      ...['--tokenizer', from('tokenizer.json')],
    ],
    'data create_raw_index': data('create_raw_index', from('corpus.jsonl'), '--index_path', to('corpus.idx')),
    'data pack_encoded_data': {
      args: data('pack_encoded_data', to('pack.yaml')),
      before: () =>
        writeFileSync(to('pack.yaml'), packConfig(inputs, { source: from('few.jsonl'), output: to('few.pbin') })),
    },
    'data merge_packed_data': data('merge_packed_data', from('few.pbin'), from('more.pbin'), to('merged.pbin')),
    'data shuffle_tokenized_data': data('shuffle_tokenized_data', ...shuffled('.pbin')),
    'data shuffle_jsonl_data': data('shuffle_jsonl_data', ...shuffled('.jsonl')),
    'data create_shuffled_dataset_chunk': data('create_shuffled_dataset_chunk', ...chunkOf('.pbin')),
    'data create_shuffled_jsonl_chunk': data('create_shuffled_jsonl_chunk', ...chunkOf('.jsonl')),
    'data prepare_instruction_tuning_data': {
      args: data('prepare_instruction_tuning_data', '--config_file_path', to('chat.yaml')),
      before: () => writeFileSync(to('chat.yaml'), chatConfig(inputs, to('chats.jsonl'))),
    },
    'run --config_file_path': {
      args: cli(
        ...['run', '--config_file_path', from('reference.yaml')],
        ...['--experiments_root_path', out, '--experiment_id', 'experiment'],
      ),
      isLog: file => /(log|results)\.jsonl$/.test(file),
      rewritten: { 'experiment/checkpoints/last_checkpoint_info.json': namesCheckpoint },
    },
    init: [MAIN, 'init', from('corpus.jsonl'), '-o', to('definition.yaml')],
    graph: [MAIN, 'graph', from('data.yaml'), '-o', to('picture.svg')],
  }
}

function namesCheckpoint(text) {
  try {
    return existsSync(JSON.parse(text).checkpoint_folder_path)
  } catch {
    return false
  }
}
