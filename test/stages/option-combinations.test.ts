/** Options that are valid alone and invalid together, or have a syntax of their own, are rejected in the factory too. */
import { expect, it } from 'vitest'
import { stageRegistry } from '#src/pipelines/registry'

const model = { layers: 1, heads: 2, width: 16, sequence_length: 8 }
const training = { model: { ...model, vocab_size: 16 }, batch_size: 4, steps: 2 }

it.each<[stage: string, options: object, path: string]>([
  ['extract-text', { field: '.a b' }, 'field'],
  ['read-corpus', { sources: ['a.jsonl'], field: 'text' }, 'field'],
  ['read-parquet', { path: 'a.parquet', field: '.a[' }, 'field'],
  ['read-file', { path: 'a', from: 2, to: 1 }, 'to'],
  ['filter-documents', { min_tokens: 2, max_tokens: 1 }, 'max_tokens'],
  ['filter-documents', { hash: { from: 0.5, to: 0.5 } }, 'hash'],
  ['shuffle-samples', { path: 'a.pbin', sequence_length: 8, batch_size: 4, rank: 2, world_size: 2 }, 'options'],
  ['feed-trainer', { ...training, model }, 'model.vocab_size'],
  ['feed-trainer', { ...training, loss_mask: { begin: 3, end: 3 } }, 'loss_mask.end'],
  ['feed-trainer', { ...training, loss_mask: { begin: '<a>', end: '<b>' } }, 'loss_mask'],
  ['feed-trainer', { ...training, engine: 'torch', torch: { tensor_parallel: 3 } }, 'torch.tensor_parallel'],
  ['feed-trainer', { ...training, early_stop: { patience: 1 } }, 'early_stop'],
])('%s rejects %j at %s', (stage, options, path) => {
  const invalid = { code: 'OPTION_INVALID', where: expect.objectContaining({ stage, path }) }
  expect(() => stageRegistry[stage]!.create(options)).toThrow(expect.objectContaining(invalid))
})
