/**
 * Samples of packed files by number, as the stages that emit samples read them: files, chosen range, tokenizer and the facts
 * that identify the data. Each sample is one small read; few files are open at a time.
 */
import { createHash } from 'node:crypto'
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import type { DescriptorPool } from '../../files/descriptor-pool.js'
import { checkTokenizer, type PackedManifest, readPackedManifest } from '../../files/manifest.js'
import { commonTokenizer, openPackedFile, type PackedFile } from '../../files/packed-file.js'
import { DocumentIndex } from '../../files/samples/document-index.js'
import { openPackFile, type PackFile } from '../../files/samples/pack-file.js'
import type { TokenizerIdentity, TokenRange } from '../../formats/batches.js'
import { startsAfterToken } from '../../sampling/document-starts.js'
import {
  chooseSamples,
  chosenRanges,
  RANGE_UNITS,
  type RangeUnit,
  type SampledFile,
  type SampleSelection,
} from '../../sampling/sample-range.js'

/** Options that choose a range of the samples. @param range the default of `range` */
export const rangeOptions = (range: RangeUnit) => ({
  from: z.number().min(0).max(1).default(0).describe('start of the range of samples to use, as a fraction'),
  to: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('end of the range of samples to use, as a fraction; the rest can be held out for evaluation'),
  range: z
    .enum(RANGE_UNITS)
    .default(range)
    .describe(
      'what from and to divide: the samples of all files together, the samples of each file, or the documents of each file, so that no document is split',
    ),
})

export const packOption = z
  .string()
  .min(1)
  .optional()
  .describe(
    'the .pack file that pack-samples wrote for these files: samples are its rows of whole documents, and from and to divide the rows, regardless of range; default: samples are cut by position',
  )

/** Options of every source of samples. */
export const sampleOptions = {
  sequence_length: z.int().min(2).describe('context length of the model, in tokens'),
  batch_size: z.int().positive().default(8).describe('samples per batch'),
  rank: z.int().nonnegative().default(0).describe('rank whose share of the samples to read, from 0'),
  world_size: z.int().positive().default(1).describe('number of ranks that share the samples'),
  skip_num_global_samples: z
    .int()
    .nonnegative()
    .default(0)
    .describe('samples of all ranks to skip because they were already trained on'),
  reuse_last_target: z
    .boolean()
    .default(true)
    .describe('let consecutive blocks share one token: the last target of one is the first input of the next'),
  documents: z
    .enum(['join', 'mask'])
    .default('join')
    .describe(
      'attention between the documents of a sample: join lets each token attend to all before it, mask only to those of the same document',
    ),
  tokenizer: z.string().min(1).optional().describe('tokenizer that the file must have been packed with'),
}

export interface PackedSamplesOptions extends SampleSelection {
  readonly paths: readonly string[]
  /** Tokenizer that the files must have been packed with. */
  readonly tokenizer?: string | undefined
  readonly documents: 'join' | 'mask'
  /** Whose rows are the samples, instead of samples cut by position. */
  readonly pack?: string | undefined
}

/** The open files and everything that does not change from sample to sample. */
export interface PackedSamples {
  readonly files: readonly PackedFile[]
  /** Number of chosen samples. */
  readonly count: number
  /** Number of the first chosen sample among all samples. */
  readonly first: number
  /** Tokens per sample. */
  readonly block: number
  readonly ranges: readonly TokenRange[]
  readonly tokenizer: TokenizerIdentity | undefined
  readonly identity: DataIdentity
  /** Whether batches need the starts of the documents. */
  readonly hasStarts: boolean
  /** Whether rows may end with padding. */
  readonly hasPadding: boolean
  /** Reads a chosen sample, numbered from 0, into a row of a batch. @throws FILE_UNREADABLE, PBIN_INVALID */
  readInto(rows: SampleRows, row: number, sample: number): void
}

/** Arrays of a batch, shape [rows, block]. */
export interface SampleRows {
  readonly tokens: Int32Array
  /** Place in its row at which the document of each token starts. */
  readonly starts?: Int32Array
  /** Tokens of each row before its padding. */
  readonly lengths?: Int32Array
}

export function emptyRows(
  { block, hasStarts, hasPadding }: Pick<PackedSamples, 'block' | 'hasStarts' | 'hasPadding'>,
  rows: number,
): SampleRows {
  return {
    tokens: new Int32Array(rows * block),
    ...(hasStarts && { starts: new Int32Array(rows * block) }),
    ...(hasPadding && { lengths: new Int32Array(rows).fill(block) }),
  }
}

/** Digests of the data, which a checkpoint records. */
interface DataIdentity {
  readonly dataBytes: number
  readonly tokenBytes: number
  /** Of the sizes of all files, in order. */
  readonly files: string
  /** Of the ranges of the files, unless the range is one of all files together. */
  readonly range?: string
  /** Of the files' checksums, if all have a manifest. */
  readonly content?: string
  /** Of the rows of a .pack file. */
  readonly rows?: string
}

/** @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL, TOKENIZER_MISMATCH */
export async function openPackedSamples(options: PackedSamplesOptions, pool: DescriptorPool): Promise<PackedSamples> {
  const files: PackedFile[] = []
  const manifests: (PackedManifest | undefined)[] = []
  for (const path of options.paths) {
    const file = await openPackedFile(path, pool)
    files.push(file)
    manifests.push(await manifestOf(file, options.tokenizer))
  }
  const data: OpenFiles = {
    files,
    tokenizer: tokenizerOf(manifests, files),
    identity: {
      dataBytes: files.reduce((sum, { header }) => sum + header.dataBytes, 0),
      tokenBytes: files[0]!.header.tokenBytes,
      files: digestOf(files.map(({ header }) => header.dataBytes)),
      ...contentOf(manifests),
    },
  }
  return options.pack === undefined ? cutSamples(data, options) : rowSamples(data, options.pack, options, pool)
}

type OpenFiles = Pick<PackedSamples, 'files' | 'tokenizer' | 'identity'>

/** Samples cut from the files by position. */
async function cutSamples(data: OpenFiles, options: PackedSamplesOptions): Promise<PackedSamples> {
  const { files, tokenizer, identity } = data
  const sampled: SampledFile[] = []
  for (const file of files) sampled.push(await sampledFile(file, options))
  const { parts, first, count, block, stride } = chooseSamples(sampled, options)
  const startsOf = options.documents === 'mask' ? await startReader(files, tokenizer) : undefined
  return {
    ...data,
    count,
    first,
    block,
    ranges: chosenRanges(sampled, options),
    hasStarts: startsOf !== undefined,
    hasPadding: false,
    identity: { ...identity, ...(options.range !== 'all' && { range: digestOf(parts) }) },
    readInto({ tokens, starts }, row, sample) {
      const { file, firstSample, firstToken } = parts.findLast(part => part.firstSample <= sample)!
      const first = firstToken + (sample - firstSample) * stride
      tokens.set(files[file]!.readTokens(first, block), row * block)
      starts?.set(startsOf!(tokens.subarray(row * block, (row + 1) * block), file, first), row * block)
    },
  }
}

/** Samples that are rows of a .pack file. */
async function rowSamples(
  data: OpenFiles,
  path: string,
  { sequence_length, reuse_last_target, from, to, documents }: PackedSamplesOptions,
  pool: DescriptorPool,
): Promise<PackedSamples> {
  const pack = await openPackFile(path, pool)
  pack.requireFiles(data.files)
  const block = pack.header.rowTokens
  if (block !== sequence_length + Number(reuse_last_target)) {
    const message = `the rows of ${path} have ${block} tokens, a sample has ${sequence_length + Number(reuse_last_target)}: pack the samples with this sequence_length`
    throw new PenstockError('OPTION_INVALID', message, { path: 'sequence_length' })
  }
  const { first, count, range } = chosenRows(pack, data.files, { from, to })
  return {
    ...data,
    count,
    first,
    block,
    ranges: [range],
    hasStarts: documents === 'mask',
    hasPadding: true,
    identity: { ...data.identity, rows: digestOf((await pack.manifest())?.checksums ?? pack.header) },
    readInto({ tokens, starts, lengths }, row, sample) {
      let place = row * block
      const fill = (count: number) => {
        starts?.fill(place - row * block, place, place + count)
        place += count
      }
      for (const { file, firstToken, tokens: count } of pack.row(first + sample)) {
        tokens.set(data.files[file]!.readTokens(firstToken, count), place)
        fill(count)
      }
      lengths?.fill(place - row * block, row, row + 1)
      fill((row + 1) * block - place)
    },
  }
}

/** The rows of a .pack file between `from` and `to`. */
export function chosenRows(
  { path, header }: Pick<PackFile, 'path' | 'header'>,
  files: readonly { readonly path: string }[],
  { from, to }: Pick<SampleSelection, 'from' | 'to'>,
): { readonly first: number; readonly count: number; readonly range: TokenRange } {
  const { rows, rowTokens } = header
  const [first, last] = [Math.round(from * rows), Math.round(to * rows)]
  const documentsOf = files.map(file => file.path)
  const range = { path, start: first * rowTokens, end: last * rowTokens, stride: rowTokens, documentsOf }
  return { first, count: last - first, range }
}

/** A file with the tokens of its chosen documents, where the range divides documents, after a pass over its index. */
export async function sampledFile(
  file: PackedFile,
  { range, from, to }: Pick<SampleSelection, 'range' | 'from' | 'to'>,
): Promise<SampledFile> {
  const { path, tokenCount } = file
  if (range !== 'documents') return { path, tokenCount }
  const documents = await DocumentIndex.read(file)
  const at = (fraction: number): number => {
    const document = Math.round(fraction * documents.count)
    return document === documents.count ? tokenCount : documents.firstOf(document)
  }
  return { path, tokenCount, tokens: { start: at(from), end: at(to) } }
}

/** The starts of the documents in a sample, from the token that ends them, or from the index of its file. */
async function startReader(files: readonly PackedFile[], tokenizer: TokenizerIdentity | undefined) {
  const endId = tokenizer?.endOfDocumentId
  if (endId !== undefined) return (tokens: Int32Array) => startsAfterToken(tokens, tokens.length, endId)
  const indexes = await Promise.all(files.map(file => DocumentIndex.read(file)))
  return (tokens: Int32Array, file: number, first: number) => {
    const starts = new Int32Array(tokens.length)
    indexes[file]!.startsIn(first, starts)
    return starts
  }
}

/** The file's manifest. @throws TOKENIZER_MISMATCH if it names another tokenizer than the given one */
async function manifestOf(file: PackedFile, tokenizerPath: string | undefined): Promise<PackedManifest | undefined> {
  const manifest = await readPackedManifest(file.path, file.header)
  if (manifest !== undefined && tokenizerPath !== undefined) {
    // Loaded only here, since few runs need the tokenizer's code.
    const { tokenizerReference } = await import('../../workers/tokenizer/load-tokenizer.js')
    checkTokenizer(manifest, await tokenizerReference(tokenizerPath), file.path)
  }
  return manifest
}

/** The tokenizer of all files, without an end-of-document token that not all files use. @throws TOKENIZER_MISMATCH */
function tokenizerOf(
  manifests: readonly (PackedManifest | undefined)[],
  files: readonly PackedFile[],
): TokenizerIdentity | undefined {
  const tokenizers = manifests.map(manifest => manifest?.tokenizer)
  const common = commonTokenizer(tokenizers, files)
  const isEndCommon = tokenizers.every(tokenizer => tokenizer?.endOfDocumentId === common?.endOfDocumentId)
  return common && !isEndCommon ? { ...common, endOfDocumentId: undefined } : common
}

function contentOf(manifests: readonly (PackedManifest | undefined)[]): { content?: string } {
  return manifests.includes(undefined) ? {} : { content: digestOf(manifests.map(manifest => manifest!.checksums)) }
}

export const digestOf = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex')
