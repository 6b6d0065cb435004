/** Jobs for the tests of resuming: one definition per command, with all of its outputs. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { checkDefinition, definitionOf, type RunOptions, runPipeline } from '#src/pipelines/index'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { zstdFrames } from '../workers/decompression/compressed-files.js'

export interface Job {
  readonly stages: readonly unknown[]
  readonly outputs: readonly string[]
  readonly fuse?: boolean
}

/** About `megabytes` MB of lines of all lengths, including every kind of fault. */
export function corpus(megabytes: number): Buffer {
  let state = 4711
  const random = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
  const words = ['line', 'ünïcode', '"quoted"', 'tab\t', '😀', END, 'x'.repeat(40), '', 'people', 'of']
  const faults = ['{"text":', '', '{"body":1}', '{"text":5}', '{"text":""}', '{"text":"\xff"}']
  const lines: Buffer[] = []
  for (let bytes = 0; bytes < megabytes * 1e6; bytes += lines.at(-1)!.length) {
    const number = lines.length
    if (random(50) === 0) lines.push(Buffer.from(`${faults[random(faults.length)]}\n`, 'latin1'))
    const count = number % 900 === 500 ? 20_000 : random(80) + 1
    const text = Array.from({ length: count }, () => words[random(words.length)]! + (random(9) === 0 ? number : ''))
    lines.push(Buffer.from(`${JSON.stringify({ id: number, text: `${text.join(' ')}.` })}\n`))
  }
  return Buffer.concat(lines)
}

/** Writes the inputs of the jobs to a folder. */
export async function prepare(folder: string, megabytes: number): Promise<void> {
  const at = (name: string): string => join(folder, name)
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(at('in.jsonl'), corpus(megabytes))
  execFileSync('gzip', ['-kf', at('in.jsonl')])
  mkdirSync(at('lines'), { recursive: true })
  copyFileSync(at('in.jsonl'), at('lines/a.jsonl'))
  writeFileSync(at('lines/b.jsonl'), '')
  for (const name of ['c', 'd', 'e']) writeFileSync(at(`lines/${name}.jsonl`), `{"text":"file ${name}"}\n{"text":5}`)
  mkdirSync(at('corpus'), { recursive: true })
  copyFileSync(at('in.jsonl'), at('corpus/a.jsonl'))
  copyFileSync(at('in.jsonl.gz'), at('corpus/b.jsonl.gz'))
  writeFileSync(at('corpus/d.jsonl.zst'), zstdFrames(corpus(megabytes / 2), 30_000))
  const texts = Array.from({ length: 3000 }, (_, row) => (row % 700 === 0 ? null : `row ${row} `.repeat(row % 90)))
  const columnData = [{ name: 'text', data: texts, type: 'STRING' as const }]
  writeFileSync(at('corpus/c.parquet'), Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 1100 })))
  const { stages } = jobs(folder, 'in').pack!
  await run({ stages, outputs: [] })
  // An index that omits lines, so that a reader must follow it instead of reading the file sequentially.
  await run({
    stages: [
      { 'read-file': { path: at('in.jsonl') } },
      { 'read-lines': { faulty: 'skip' } },
      { 'validate-json': { faulty: 'skip' } },
      { 'write-index': { path: at('in.idx') } },
    ],
    outputs: [],
  })
}

export async function run({ stages, fuse = true }: Job, options: RunOptions = {}) {
  const [pipeline] = checkDefinition(definitionOf({ stages }))
  return runPipeline(pipeline!, { fuse, ...options })
}

/** @param name base name of the outputs */
export function jobs(folder: string, name: string): Record<string, Job> {
  const at = (file: string): string => join(folder, file)
  const out = (ending: string): string => at(`${name}${ending}`)
  const faults = { faulty: 'quarantine', quarantine: out('.faulty') }
  const head = (path: string) => [{ 'read-file': { path } }, { 'read-lines': faults }, { 'validate-json': faults }]
  const extract = { 'extract-text': { field: '.text', ...faults } }
  const tokenize = {
    'tokenize-batches': { tokenizer: at('tokenizer.json'), end_of_document: END, workers: 2, ...faults },
  }
  const index = { 'write-index': { path: out('.idx') } }
  const pack = { 'write-pbin': { path: out('.pbin') } }
  const packed = ['.pbin', '.pbin.manifest'].map(out)
  const indexed = ['.idx', '.idx.manifest'].map(out)
  const paths = [at('in.pbin'), at('in.pbin')]
  const onePass = [...head(at('in.jsonl')), { fork: [[index], [extract, tokenize, pack]] }]
  return {
    index: { stages: [...head(at('in.jsonl')), index], outputs: [...indexed, out('.faulty')] },
    pack: { stages: [...head(at('in.jsonl')), extract, tokenize, pack], outputs: [...packed, out('.faulty')] },
    'index and pack in one pass': { stages: onePass, outputs: [...indexed, ...packed, out('.faulty')] },
    'index and pack by separate stages': {
      stages: onePass,
      outputs: [...indexed, ...packed, out('.faulty')],
      fuse: false,
    },
    'pack of a .gz': {
      stages: [...head(at('in.jsonl.gz')), extract, tokenize, pack],
      outputs: [...packed, out('.faulty')],
    },
    'pack of many JSONL files': {
      stages: [{ 'read-corpus': { sources: [at('lines')], ...faults } }, tokenize, pack],
      outputs: [...packed, out('.faulty')],
    },
    'pack of a corpus of several formats': {
      stages: [{ 'read-corpus': { sources: [at('corpus')], ...faults } }, tokenize, pack],
      outputs: [...packed, out('.faulty')],
    },
    'pack of a corpus by separate stages': {
      stages: [{ 'read-corpus': { sources: [at('corpus')], ...faults } }, tokenize, pack],
      outputs: [...packed, out('.faulty')],
      fuse: false,
    },
    'pack by an index': {
      stages: [{ 'read-documents': { path: at('in.jsonl'), ...faults } }, tokenize, pack],
      outputs: [...packed, out('.faulty')],
    },
    'pack to a fixed length, with small batches': {
      stages: [
        ...head(at('in.jsonl')),
        extract,
        {
          'tokenize-batches': {
            ...tokenize['tokenize-batches'],
            fit_length: { max_length: 2000, truncate: 'right', pad: 'right', pad_token: END },
          },
        },
        pack,
      ],
      outputs: [...packed, out('.faulty')],
    },
    'texts to JSONL': {
      stages: [...head(at('in.jsonl')), extract, { 'write-jsonl': { path: out('.jsonl') } }],
      outputs: [out('.jsonl'), out('.faulty')],
    },
    merge: { stages: [{ 'concat-pbin': { paths } }, pack], outputs: packed },
    filter: {
      stages: [{ 'read-pbin': { path: paths[0] } }, { 'filter-documents': { min_tokens: 300 } }, pack],
      outputs: packed,
    },
    'shuffle of documents': { stages: [{ 'shuffle-documents': { paths, seed: 7 } }, pack], outputs: packed },
    'chunk of documents': {
      stages: [{ 'shuffle-documents': { paths, seed: 7, chunk: { number: 1, of: 2 } } }, pack],
      outputs: packed,
    },
    'shuffle of lines': {
      stages: [
        { 'shuffle-lines': { paths: [at('in.jsonl')], seed: 7 } },
        { 'write-lines': { path: out('.lines.jsonl') } },
      ],
      outputs: [out('.lines.jsonl')],
    },
    'tokenizer training': {
      stages: [
        ...head(at('in.jsonl')),
        extract,
        { 'train-tokenizer': { path: out('.tokenizer.json'), vocab_size: 400, workers: 2 } },
      ],
      outputs: [out('.tokenizer.json'), out('.faulty')],
    },
  }
}

export const contentOf = (job: Job): string[] => job.outputs.map(path => readFileSync(path, 'latin1'))
