/**
 * Tokenizer files in the shapes of BERT, CLIP, Llama 2, T5 and XLM-R, trained on the benchmark corpus by the first run and
 * stored in data/bench/vocabularies. Training takes five minutes and needs the environment of
 * `node scripts/setup-python.mjs peers`.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { unigramJsonOf } from '../scripts/exactness/real-files.mjs'
import type { TokenizerJson } from '../test/tokenizer/fixtures.js'

export type TrainedName = 'bert' | 'clip' | 'llama2' | 't5' | 'xlm-r'

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))
const folder = path('../data/bench/vocabularies')

/** @param texts documents to train on if the files are missing */
export function trainedVocabulary(name: TrainedName, texts: readonly string[]): TokenizerJson {
  if (!existsSync(`${folder}/xlm-r.model`)) train(texts)
  if (name === 't5') return unigramJsonOf(readFileSync(`${folder}/t5.model`)) as TokenizerJson
  if (name !== 'xlm-r') return JSON.parse(readFileSync(`${folder}/${name}.json`, 'utf8')) as TokenizerJson
  const json = unigramJsonOf(readFileSync(`${folder}/xlm-r.model`))
  return {
    ...json,
    normalizer: json.normalizer.normalizers[0],
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, json.pre_tokenizer] },
  } as TokenizerJson
}

function train(texts: readonly string[]): void {
  const python = execFileSync(process.execPath, [path('../scripts/setup-python.mjs'), 'peers'], {
    encoding: 'utf8',
  }).trim()
  mkdirSync(folder, { recursive: true })
  const input = texts.map(text => JSON.stringify(text)).join('\n')
  const { status } = spawnSync(python, [path('train-vocabularies.py'), folder], {
    input,
    stdio: ['pipe', 'inherit', 'inherit'],
    maxBuffer: 2 ** 30,
  })
  if (status !== 0) throw new Error('training the vocabularies failed')
}
