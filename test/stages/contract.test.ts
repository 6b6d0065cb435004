/** Every stage of the registry satisfies the contract. */
import { join } from 'node:path'
import { stageRegistry } from '#src/pipelines/registry'
import { type ContractOptions, testContract } from './contract.js'

const model = { layers: 1, heads: 2, width: 16, sequence_length: 8 }

const OPTIONS: Record<string, ContractOptions> = {
  'read-file': ({ jsonl }) => ({ path: jsonl, chunk_bytes: 4096 }),
  'read-lines': () => ({}),
  'split-json': () => ({ shape: 'values' }),
  'validate-json': () => ({}),
  'write-index': ({ out }) => ({ path: join(out, 'out.idx') }),
  'extract-text': () => ({}),
  'read-documents': ({ jsonl, index }) => ({ path: jsonl, index }),
  'read-corpus': ({ jsonl, parquet }) => ({ sources: [jsonl, parquet] }),
  'read-parquet': ({ parquet }) => ({ path: parquet }),
  'read-text': ({ jsonl }) => ({ path: jsonl, per: 'line' }),
  'write-jsonl': ({ out }) => ({ path: join(out, 'out.jsonl') }),
  'tokenize-batches': ({ tokenizer }) => ({ tokenizer, workers: 1 }),
  'write-pbin': ({ out }) => ({ path: join(out, 'out.pbin') }),
  'read-pbin': ({ packed }) => ({ path: packed }),
  'concat-index': ({ jsonl, index }) => ({ paths: [index], source: jsonl }),
  'concat-pbin': ({ packed }) => ({ paths: [packed, packed] }),
  'shuffle-documents': ({ packed }) => ({ paths: [packed], seed: 1 }),
  'shuffle-part': ({ packed }) => ({ paths: [packed], first: 0, total: 400, seed: 1 }),
  'join-parts': ({ packed }) => ({ paths: [packed], documents: [400], from: 0, to: 400, seed: 1 }),
  'filter-documents': () => ({ min_tokens: 1 }),
  'shuffle-lines': ({ jsonl }) => ({ paths: [jsonl], seed: 1 }),
  'write-lines': ({ out }) => ({ path: join(out, 'out.jsonl') }),
  'shuffle-samples': ({ packed }) => ({ path: packed, sequence_length: 8, batch_size: 4 }),
  'mix-samples': ({ packed }) => ({
    sources: ['a', 'b'].map(name => ({ name, paths: [packed], weight: 1 })),
    sequence_length: 8,
    batch_size: 4,
  }),
  'list-documents': ({ packed }) => ({ paths: [packed, packed] }),
  'pack-samples': ({ out }) => ({ path: join(out, 'out.pack'), sequence_length: 8 }),
  'cut-samples': () => ({ sequence_length: 8, batch_size: 4 }),
  'feed-trainer': ({ tokenizer, out }) => ({
    model,
    tokenizer,
    batch_size: 4,
    steps: 2,
    backend: 'cpu',
    checkpoint: { folder: join(out, 'checkpoints'), every_steps: 1000 },
  }),
  'count-words': ({ out }) => ({ path: join(out, 'out.words') }),
  'read-words': ({ words }) => ({ paths: [words, words] }),
  'train-words': ({ out }) => ({ path: join(out, 'tokenizer.json'), vocab_size: 300 }),
  'train-tokenizer': ({ out }) => ({ path: join(out, 'tokenizer.json'), vocab_size: 300 }),
}

testContract(stageRegistry, OPTIONS)
