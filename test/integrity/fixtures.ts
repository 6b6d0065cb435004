/** A small corpus with an index, a packed file, packed rows and a checkpoint. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Verdict } from '#src/integrity/findings'
import { type VerifyOptions, verifyPath } from '#src/integrity/verify'
import { checkDefinition, definitionOf, runPipeline } from '#src/pipelines/index'
import { listDocuments } from '#src/stages/samples/list-documents'
import { packSamples } from '#src/stages/samples/pack-samples'
import { saveCheckpoint } from '#src/training/checkpoint'
import { parseTraining, resolveModel } from '#src/training/options'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'

export const DOCUMENTS = 60

export interface Corpus {
  readonly source: string
  readonly index: string
  readonly packed: string
  readonly rows: string
  readonly tokenizer: string
}

export async function makeCorpus(folder: string): Promise<Corpus> {
  const at = (name: string): string => join(folder, name)
  const corpus = {
    source: at('corpus.jsonl'),
    index: at('corpus.idx'),
    packed: at('corpus.pbin'),
    rows: at('corpus.pack'),
    tokenizer: at('tokenizer.json'),
  }
  const lines = Array.from({ length: DOCUMENTS }, (_, line) => JSON.stringify({ text: `line ${line} of a few` }))
  writeFileSync(corpus.source, `${lines.join('\n')}\n`)
  writeFileSync(corpus.tokenizer, JSON.stringify(byteTokenizer()))
  const packing = [
    { 'extract-text': {} },
    { 'tokenize-batches': { tokenizer: corpus.tokenizer, end_of_document: END, workers: 1 } },
    { 'write-pbin': { path: corpus.packed } },
  ]
  const stages = [
    { 'read-file': { path: corpus.source } },
    { 'read-lines': {} },
    { 'validate-json': {} },
    { fork: [[{ 'write-index': { path: corpus.index } }], packing] },
  ]
  for (const pipeline of checkDefinition(definitionOf({ name: 'corpus', stages }))) await runPipeline(pipeline)
  const rows = packSamples({ path: corpus.rows, sequence_length: 64 })
  await pipeline(listDocuments({ paths: [corpus.packed] }), rows)
  return corpus
}

/** A checkpoint whose two files hold no weights: their content is opaque to the checks. */
export async function makeCheckpoint(folder: string): Promise<string> {
  const saveState = async (partial: string): Promise<string[]> => {
    mkdirSync(partial, { recursive: true })
    const names = ['model.safetensors', 'optimizer.safetensors']
    for (const name of names) writeFileSync(join(partial, name), name.repeat(20))
    return names
  }
  return saveCheckpoint(
    folder,
    2,
    { isPrimary: true, saveState },
    {
      step: 3,
      totalSteps: 4,
      consumedTokens: 96,
      cursor: {
        version: 1,
        globalSamples: 12,
        seed: 1,
        sampleCount: 50,
        sequenceLength: 8,
        dataBytes: 800,
        tokenBytes: 2,
      },
      model: resolveModel({ vocab_size: 12, sequence_length: 8, layers: 1, heads: 1, width: 8 }),
      training: parseTraining({ steps: 4 }),
    },
  )
}

export async function verdictsOf(path: string, options: VerifyOptions = {}): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  for await (const verdict of verifyPath(path, options)) verdicts.push(verdict)
  return verdicts
}

export async function verdictOf(path: string, options: VerifyOptions = {}): Promise<Verdict> {
  const [verdict] = await verdictsOf(path, options)
  return verdict!
}

export const codesIn = (verdict: Verdict, level = 'damaged'): string[] =>
  verdict.findings.filter(finding => finding.level === level).map(({ error }) => error.code)

/** The file with one bit flipped. */
export function flipBit(path: string, bit: number): void {
  const bytes = readFileSync(path)
  bytes[bit >> 3]! ^= 1 << (bit & 7)
  writeFileSync(path, bytes)
}
