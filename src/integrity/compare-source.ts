/**
 * The deep check: rebuilds an index or the tokens of a packed file from the source, in memory, and compares. Takes as long
 * as creating them.
 */

import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { readPackedManifest } from '../files/manifest.js'
import { openPackedFile, type PackedFile } from '../files/packed-file.js'
import { requireFormat } from '../files/source-format.js'
import { listSources, locateSources, type SourceOrder } from '../files/source-list.js'
import { indexEntries } from '../files/sources/index-entries.js'
import type { SourceReading } from '../files/sources/source-record.js'
import type { LineBatch, TokenBatch } from '../formats/batches.js'
import { count, quantity } from '../formats/message-words.js'
import { checkDefinition } from '../pipelines/check.js'
import { definitionOf } from '../pipelines/definition.js'
import { stageRegistry } from '../pipelines/registry.js'
import { runPipeline } from '../pipelines/run.js'
import { type SinkStage, sink } from '../stages/stream/stage.js'
import { askTokenizer } from '../workers/tokenizer/tokenizer-thread.js'
import type { Findings } from './findings.js'

/** Inputs from which a packed file was created. */
export interface PackedSource {
  /** Files, folders, glob patterns and lists, in any mix. */
  readonly sources: readonly string[]
  /** Order of the files, as for `listSources`. */
  readonly order: SourceOrder
  /** Options of `read-corpus` other than the defaults. */
  readonly reading: SourceReading
  readonly tokenizer: string
  readonly field: string
  /** Token that ends each document; taken from the manifest when undefined. */
  readonly endOfDocument: string | undefined
}

// Faulty records were skipped when the file was created.
const SKIP_FAULTY = { faulty: 'skip' }

/** @throws any error of reading the source */
export async function comparePacked(path: string, packedSource: PackedSource, findings: Findings): Promise<void> {
  const file = await openPackedFile(path)
  try {
    const { tokenizer } = packedSource
    const end_of_document = packedSource.endOfDocument ?? (await recordedEnd(file, tokenizer))
    const tokenize = { tokenizer, token_bytes: file.header.tokenBytes, ...SKIP_FAULTY }
    await runInto(
      [
        ...(await textsOf(packedSource)),
        { 'tokenize-batches': end_of_document === undefined ? tokenize : { ...tokenize, end_of_document } },
      ],
      'tokens',
      () => compareTokens(file, findings),
    )
  } finally {
    await file.close()
  }
}

/** The end-of-document token according to the manifest. */
async function recordedEnd(file: PackedFile, tokenizerPath: string): Promise<string | undefined> {
  const id = (await readPackedManifest(file.path, file.header))?.tokenizer?.endOfDocumentId
  return id === undefined ? undefined : askTokenizer(tokenizerPath, tokenizer => tokenizer.decode([id]))
}

/** @throws any error of reading the source */
export async function compareIndex(path: string, source: string, findings: Findings): Promise<void> {
  await runInto(linesOf(source), 'lines', () => compareLines(path, findings))
}

/** The source of a packed file may be a corpus: a folder, a glob pattern, an @list, or a file of any format. */
async function textsOf({ sources, order, reading, field }: PackedSource): Promise<object[]> {
  await locateSources(sources)
  const files = listSources(sources, order)
  const [file] = files
  if (files.length === 1 && requireFormat(file!) === 'jsonl') {
    return [...linesOf(file!), { 'extract-text': { field, ...SKIP_FAULTY } }]
  }
  return [{ 'read-corpus': { sources: [...sources], order, field, ...reading, ...SKIP_FAULTY } }]
}

const linesOf = (source: string): object[] => [
  { 'read-file': { path: source } },
  { 'read-lines': SKIP_FAULTY },
  { 'validate-json': SKIP_FAULTY },
]

async function runInto(
  stages: readonly object[],
  accepts: 'lines' | 'tokens',
  create: () => SinkStage<never>,
): Promise<void> {
  const compare = { summary: '', accepts, options: z.strictObject({}), create }
  const definition = definitionOf({ name: 'verify', stages: [...stages, { compare: {} }] }, 'penstock verify')
  for (const pipeline of checkDefinition(definition, { ...stageRegistry, compare })) await runPipeline(pipeline)
}

function compareTokens(file: PackedFile, findings: Findings): SinkStage<TokenBatch> {
  return sink('compare', async input => {
    let position = 0
    let record = 0
    const reportDifference = (message: string): void =>
      findings.add('damaged', new PenstockError('FILE_DAMAGED', message, { file: file.path, record }))
    for await (const { tokens, lengths, release } of input) {
      const stored = file.readTokens(position, Math.min(tokens.length, file.tokenCount - position))
      const place = tokens.findIndex((id, index) => id !== stored[index])
      release?.()
      if (place >= 0) {
        record += documentAt(place, lengths)
        return reportDifference(`token ${position + place} differs from the source`)
      }
      position += tokens.length
      record += lengths.length
    }
    if (position < file.tokenCount)
      reportDifference(`the source yields ${quantity(position, 'token')}, the file has ${count(file.tokenCount)}`)
  })
}

/** Index of the document that contains a token, both within a batch. */
function documentAt(token: number, lengths: Uint32Array): number {
  let end = 0
  return lengths.findIndex(length => {
    end += length
    return token < end
  })
}

function compareLines(path: string, findings: Findings): SinkStage<LineBatch> {
  return sink('compare', async input => {
    const blocks = indexEntries(path)
    let block: readonly number[] = []
    let place = 0
    let record = 0
    const reportDifference = (message: string): void =>
      findings.add('damaged', new PenstockError('FILE_DAMAGED', message, { file: path, record }))
    const hasNext = async (): Promise<boolean> => {
      if (place < block.length) return true
      block = (await blocks.next()).value ?? []
      place = 0
      return block.length > 0
    }
    for await (const { byteOffset, starts, ends } of input) {
      for (let line = 0; line < starts.length; line++, record++, place += 2) {
        if (!(await hasNext())) return reportDifference('the source has more lines')
        const start = byteOffset + starts[line]!
        if (block[place] === start && block[place + 1] === ends[line]! - starts[line]!) continue
        return reportDifference(
          `the line starts at byte ${start}; the index says byte ${block[place]}, with ${block[place + 1]} bytes`,
        )
      }
    }
    if (await hasNext()) reportDifference('the source has fewer lines')
  })
}
