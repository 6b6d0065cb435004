/** Summarizes an index, a packed file, packed rows, a tokenizer or a checkpoint, and validates its structure while reading it. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { PenstockError } from '../../errors.js'
import { DescriptorPool } from '../../files/descriptor-pool.js'
import { yieldIfDue } from '../../files/event-loop.js'
import { checkTokenizer, readPackedManifest } from '../../files/manifest.js'
import { openPackedFile, type PackedFile } from '../../files/packed-file.js'
import { openPackFile } from '../../files/samples/pack-file.js'
import { locateSources } from '../../files/source-list.js'
import type { SourceRecord } from '../../files/sources/source-record.js'
import { createIndexReader } from '../../formats/idx.js'
import { findCheckpoint } from '../../pipelines/text-model.js'
import { tokenizerFileAt } from '../../workers/tokenizer/tokenizer-setup.js'
import { askTokenizer, type TokenizerThread } from '../../workers/tokenizer/tokenizer-thread.js'
import { reportDamaged } from '../output/notices.js'
import { bytes, count, quantity } from '../output/terminal.js'
import { rejectUnused } from '../output/unused-flags.js'
import { checkFormatOptions, filesOf } from './read-sources.js'
import { type SampledField, sampleSources, type TextUnit } from './sample-sources.js'

/** A JSON file of any other name is a corpus. */
const TOKENIZER_FILE = /tokenizer.*\.json$|\.model$/i
const SHOWN_DOCUMENTS = 3
const SHOWN_FIELDS = 5
const SHOWN_TOKENS = 48
/** Separator between tokens. Not ASCII `|`, which occurs in the names of special tokens. */
const BOUNDARY = '\u2502'
const SHOWN_FREQUENT = 8
const BAR_WIDTH = 30
const READ_TOKENS = 1 << 20
/** In a larger file, only every n-th part is counted. */
const MAX_COUNTED_TOKENS = 64 << 20

type Facts = Record<string, string | number>

/** @throws FILE_MISSING, and the errors of a damaged file */
export async function inspectPaths(
  paths: readonly string[],
  { tokenizer, textPer }: { readonly tokenizer?: string; readonly textPer?: TextUnit },
): Promise<Facts> {
  const [path] = paths
  if (paths.length === 1 && path!.endsWith('.pbin')) {
    rejectUnused({ textPer }, ['textPer'], 'on a packed file')
    return inspectPacked(path!, tokenizer)
  }
  rejectUnused({ tokenizer }, ['tokenizer'], 'except on a packed file')
  if (paths.length === 1 && path!.endsWith('.pack')) {
    rejectUnused({ textPer }, ['textPer'], 'on packed rows')
    return inspectRows(path!)
  }
  if (paths.length === 1 && path!.endsWith('.idx')) return inspectIndex(path!)
  if (paths.length > 1) return inspectCorpus(paths, textPer)
  return (await inspectCheckpoint(path!)) ?? (await inspectTokenizer(path!)) ?? inspectCorpus(paths, textPer)
}

/** `undefined` if the path names neither a tokenizer file nor a folder with one. */
async function inspectTokenizer(path: string): Promise<Facts | undefined> {
  const found = await tokenizerFileAt(path).catch(() => undefined)
  if (found === undefined || !TOKENIZER_FILE.test(basename(found))) return undefined
  return askTokenizer(found, ({ path: file, facts }) => ({
    kind: 'tokenizer',
    path: file,
    sha256: facts.sha256.slice(0, 12),
    engine: facts.engineInfo.why,
    'tokens of the model': count(facts.vocabSize),
    'highest token id': count(facts.totalSize - 1),
    'tokens added before a text': facts.templateTokens.before,
    'tokens added after a text': facts.templateTokens.after,
  }))
}

async function inspectCorpus(sources: readonly string[], textPer: TextUnit): Promise<Facts> {
  await locateSources(sources)
  const files = filesOf(sources, 'name')
  checkFormatOptions(files, { textPer })
  const samples = await sampleSources(files, textPer)
  const facts: Facts = { kind: 'corpus', files: count(files.length) }
  for (const sample of samples) {
    const { format, files: members, bytes: size, allRecords, isWhole, records, faulty, fault, fields } = sample
    const about = isWhole ? '' : 'about '
    facts[format] = `${quantity(members.length, 'file')}, ${bytes(size)}, ${about}${quantity(allRecords, 'record')}`
    if (faulty > 0) {
      const first = fault === undefined ? '' : `; the first: ${fault}`
      facts[`  faulty ${format}`] = `${count(faulty)} of ${count(records)} sampled records${first}`
    }
    for (const [name, field] of longestFields(fields)) {
      const share = Math.round((100 * field.records) / Math.max(1, records))
      facts[`  ${format} ${name}`] =
        `in ${share} % of the records, ${bytes(field.bytes / field.records)} each on average`
    }
  }
  return facts
}

const longestFields = (fields: ReadonlyMap<string, SampledField>): (readonly [string, SampledField])[] =>
  [...fields].toSorted(([, a], [, b]) => b.bytes - a.bytes).slice(0, SHOWN_FIELDS)

async function inspectIndex(path: string): Promise<Facts> {
  let covered = 0
  let longest = 0
  let shortest = Number.POSITIVE_INFINITY
  const reader = createIndexReader(
    entries => {
      for (let entry = 0; entry < entries.length; entry += 2) {
        const length = entries[entry + 1]!
        covered = entries[entry]! + length
        longest = Math.max(longest, length)
        shortest = Math.min(shortest, length)
      }
    },
    { where: { file: path } },
  )
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 18 })) reader.feed(piece)
  const records = reader.end()
  return {
    kind: 'raw index',
    records: count(records),
    'bytes covered': bytes(covered),
    'longest record': bytes(longest),
    'shortest record': bytes(records === 0 ? 0 : shortest),
  }
}

async function inspectRows(path: string): Promise<Facts> {
  const pool = new DescriptorPool()
  try {
    const { header } = await openPackFile(path, pool)
    const { rows, rowTokens, entries, tokens, droppedTokens, files } = header
    return {
      kind: 'packed rows',
      rows: count(rows),
      'tokens per row': count(rowTokens),
      'documents and parts of documents': count(entries),
      'documents per row': (entries / rows).toFixed(1),
      tokens: count(tokens),
      padding: percent(rows * rowTokens - tokens, rows * rowTokens),
      'tokens in no row': count(droppedTokens),
      'packed files': files.length,
    }
  } finally {
    pool.close()
  }
}

/** Undefined for anything but a checkpoint, or a folder of them. */
async function inspectCheckpoint(path: string): Promise<Facts | undefined> {
  const isFolder = await stat(path).then(
    stats => stats.isDirectory(),
    () => false,
  )
  const checkpoint = isFolder ? await findCheckpoint(path, reportDamaged).catch(ignoreMissing) : undefined
  if (checkpoint === undefined) return undefined
  const { state } = checkpoint
  return {
    kind: 'checkpoint',
    path: checkpoint.path,
    step: count(state.step),
    'tokens seen': count(state.consumedTokens),
    'samples seen': count(state.cursor?.globalSamples ?? 0),
    model: JSON.stringify(state.model),
    tokenizer:
      state.tokenizer === undefined
        ? 'not recorded'
        : `${state.tokenizer.path} (${state.tokenizer.sha256.slice(0, 12)})`,
  }
}

function ignoreMissing(error: PenstockError): undefined {
  if (error.code !== 'FILE_MISSING') throw error
}

interface Document {
  readonly start: number
  readonly length: number
}

/** @throws FILE_MISSING, PBIN_INVALID, TOKENIZER_MISMATCH */
export async function inspectPacked(path: string, tokenizerPath?: string): Promise<Record<string, string | number>> {
  return tokenizerPath === undefined
    ? inspectWith(undefined, path)
    : askTokenizer(tokenizerPath, tokenizer => inspectWith(tokenizer, path))
}

async function inspectWith(
  tokenizer: TokenizerThread | undefined,
  path: string,
): Promise<Record<string, string | number>> {
  const file = await openPackedFile(path)
  try {
    const manifest = await readPackedManifest(path, file.header)
    if (manifest !== undefined && tokenizer !== undefined) checkTokenizer(manifest, tokenizer, path)
    const { documents, longest, histogram, first } = await lengthsIn(file)
    return {
      kind: 'packed tokens',
      documents: count(documents),
      tokens: count(file.tokenCount),
      'bytes per token': file.header.tokenBytes,
      'tokens per document': documents === 0 ? 0 : (file.tokenCount / documents).toFixed(1),
      'longest document': `${quantity(longest, 'token')}`,
      tokenizer: manifest?.tokenizer?.sha256.slice(0, 12) ?? 'not recorded',
      sources: manifest?.sources === undefined ? 'not recorded' : sourcesText(manifest.sources),
      ...histogramFacts(histogram),
      ...(await tokenFacts(file, tokenizer)),
      ...(tokenizer === undefined ? {} : await documentFacts(file, tokenizer, first)),
    }
  } finally {
    await file.close()
  }
}

/** The source, or the number and size of several. */
function sourcesText({ paths, bytes: sizes }: SourceRecord): string {
  const total = bytes(sizes.reduce((sum, size) => sum + size, 0))
  return paths.length === 1 ? `${paths[0]} (${total})` : `${quantity(paths.length, 'file')}, ${total}`
}

/** One pass over the index. Entry n of the histogram counts documents of [2^(n-1), 2^n) tokens, entry 0 empty ones. */
async function lengthsIn(file: PackedFile) {
  const first: Document[] = []
  const histogram: number[] = []
  let documents = 0
  let longest = 0
  for await (const block of file.documents()) {
    for (let entry = 0; entry < block.length; entry += 2) {
      const [start, length] = [block[entry]!, block[entry + 1]!]
      const bin = length === 0 ? 0 : Math.floor(Math.log2(length)) + 1
      histogram[bin] = (histogram[bin] ?? 0) + 1
      longest = Math.max(longest, length)
      if (documents++ < SHOWN_DOCUMENTS) first.push({ start, length })
    }
  }
  return { documents, longest, histogram, first }
}

function histogramFacts(histogram: readonly number[]): Record<string, string> {
  const largest = Math.max(1, ...histogram.filter(Boolean))
  const rows = Array.from(histogram, (documents = 0, bin) => {
    const [from, to] = bin === 0 ? [0, 0] : [2 ** (bin - 1), 2 ** bin - 1]
    const name = from === to ? `of ${quantity(from, 'token')}` : `of ${count(from)} to ${count(to)}`
    const bar = '#'.repeat(Math.ceil((documents / largest) * BAR_WIDTH))
    return [name, `${count(documents).padStart(count(largest).length)}  ${bar}`.trimEnd()] as const
  })
  return Object.fromEntries(rows.slice(histogram.findIndex(documents => documents > 0)))
}

/** Occurrences of each id in the file. */
async function countTokens(file: PackedFile): Promise<{ counts: Float64Array; counted: number }> {
  let counts = new Float64Array(1 << 16)
  const parts = Math.ceil(file.tokenCount / READ_TOKENS)
  const every = Math.max(1, Math.ceil(file.tokenCount / MAX_COUNTED_TOKENS))
  let counted = 0
  for (let part = 0; part < parts; part += every) {
    await yieldIfDue()
    const start = part * READ_TOKENS
    const tokens = file.readTokens(start, Math.min(READ_TOKENS, file.tokenCount - start))
    for (const id of tokens) {
      // A damaged file may contain huge ids; ignore them rather than allocate memory.
      if (id >= counts.length && id < 1 << 24) counts = grown(counts, id)
      if (id < counts.length) counts[id]! += 1
    }
    counted += tokens.length
  }
  return { counts, counted }
}

function grown(counts: Float64Array<ArrayBuffer>, id: number): Float64Array<ArrayBuffer> {
  const longer = new Float64Array(2 ** Math.ceil(Math.log2(id + 1)))
  longer.set(counts)
  return longer
}

async function tokenFacts(file: PackedFile, tokenizer: TokenizerThread | undefined): Promise<Record<string, string>> {
  const { counts, counted } = await countTokens(file)
  const used = Array.from(counts, (times, id) => ({ id, times })).filter(({ times }) => times > 0)
  const frequent = used.toSorted((a, b) => b.times - a.times).slice(0, SHOWN_FREQUENT)
  const share = (times: number): string => percent(times, counted)
  const names = (await tokenizer?.decodeAll(frequent.map(({ id }) => [id])))?.map(text => JSON.stringify(text))
  const facts: Record<string, string> = {
    'different tokens':
      count(used.length) + (counted < file.tokenCount ? `, in ${percent(counted, file.tokenCount)} of the file` : ''),
    'most frequent': frequent.map(({ id, times }, place) => `${names?.[place] ?? id} ${share(times)}`).join(', '),
  }
  if (tokenizer !== undefined) {
    const each = used.map(({ id }) => [id])
    const [texts, plain] = [await tokenizer.decodeAll(each), await tokenizer.decodeAll(each, true)]
    const special = used.filter((_, place) => texts[place] !== '' && plain[place] === '')
    facts['special tokens'] = share(special.reduce((sum, { times }) => sum + times, 0))
  }
  return facts
}

const percent = (part: number, whole: number): string => `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`

/** The first documents as text, with a separator between tokens. */
async function documentFacts(
  file: PackedFile,
  tokenizer: TokenizerThread,
  documents: readonly Document[],
): Promise<Record<string, string>> {
  const facts: Record<string, string> = {}
  for (const [number, { start, length }] of documents.entries()) {
    const ids = file.readTokens(start, Math.min(length, SHOWN_TOKENS))
    const texts = await tokenizer.decodeAll(Array.from(ids, id => [id]))
    const pieces = texts.map(text => JSON.stringify(text).slice(1, -1))
    facts[`document ${number}`] = `${pieces.join(BOUNDARY)}${length > SHOWN_TOKENS ? `${BOUNDARY}...` : ''}`
  }
  return facts
}
