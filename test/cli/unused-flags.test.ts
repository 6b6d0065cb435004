/** Flags that have no effect in the chosen mode are rejected, not ignored. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { temporaryFolder } from '../stages/support.js'
import { penstock } from './support.js'

const folder = temporaryFolder()

beforeAll(() => {
  const train = 'stages: [{ shuffle-samples: { path: a.pbin, sequence_length: 8 } }, { feed-trainer: { ENGINE } }]\n'
  writeFileSync(join(folder, 'tfjs.yaml'), train.replace('ENGINE', 'steps: 1, model: { vocab_size: 9 }'))
  writeFileSync(
    join(folder, 'torch.yaml'),
    train.replace('ENGINE', 'steps: 1, engine: torch, model: { vocab_size: 9 }'),
  )
  writeFileSync(join(folder, 'pack.yaml'), 'tokenizer: { component_key: tokenizer }\n')
  writeFileSync(join(folder, 'a.idx'), '')
})

const modalities = 'run --config_file_path a.yaml --experiments_root_path .'

it.each([
  ['run tfjs.yaml --experiment_id x', '--experiment_id'],
  ['run tfjs.yaml --engine torch --nproc 2 --check', '--engine, --nproc'],
  ['run tfjs.yaml --error_log_folder errors', '--error_log_folder'],
  [`${modalities} --set a=1`, '--set'],
  [`${modalities} --fresh`, '--fresh'],
  ['train tfjs.yaml --device cuda', '--device'],
  ['train tfjs.yaml --python python3 --max-restarts 2', '--python, --max-restarts'],
  ['train tfjs.yaml --nproc 2', '--nproc'],
  ['train torch.yaml --backend wasm', '--backend'],
  ['train tfjs.yaml --quiet --json', '--json'],
  ['generate a -p text --engine torch --backend node', '--backend'],
  ['convert a b --back --modalities a.yaml', '--back'],
  ['verify a.pbin --field .body', '--field'],
  ['verify a.pbin --end-of-document x', '--end-of-document'],
  ['inspect a.idx --tokenizer a', '--tokenizer'],
  ['repair a.idx --tokenizer a --end-of-document x', '--tokenizer, --end-of-document'],
  ['repair a.pbin --source a.jsonl', '--source'],
  ['explain pack.yaml --resolved', '--resolved'],
  ['explain pack.yaml --experiments_root_path .', '--experiments_root_path'],
  ['pack a.jsonl -t a --faulty skip --quarantine q.jsonl', '--quarantine'],
  ['index a.jsonl --max-faulty 3', '--max-faulty'],
])('penstock %s', async (args, flags) => {
  expect(await penstock(args.split(' '), folder)).toMatchObject({
    code: 2,
    err: expect.stringMatching(new RegExp(`${flags} ha(s|ve) no effect`)),
  })
})
