/**
 * Samples of packed files by number, as the stages that emit samples read them: files, chosen range, tokenizer and the facts
 * that identify the data. Each sample is one small read; few files are open at a time.
 */
import { createHash } from 'node:crypto'
import * as z from 'zod'
import type { DescriptorPool } from '../../files/descriptor-pool.js'
import { checkTokenizer, type PackedManifest, readPackedManifest } from '../../files/manifest.js'
import { commonTokenizer, openPackedFile, type PackedFile } from '../../files/packed-file.js'
import { DocumentIndex } from '../../files/samples/document-index.js'
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
      'attention between the documents of a sample: join lets each token attend to all before it, mask only to those of its own document',
    ),
  tokenizer: z.string().min(1).optional().describe('tokenizer that the file must have been packed with'),
}

export interface PackedSamplesOptions extends SampleSelection {
  readonly paths: readonly string[]
  /** Tokenizer that the files must have been packed with. */
  readonly tokenizer?: string | undefined
  readonly documents: 'join' | 'mask'
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
  /** Reads a chosen sample, numbered from 0, into a row of a batch. @throws FILE_UNREADABLE, PBIN_INVALID */
  readInto(rows: SampleRows, row: number, sample: number): void
}

/** Arrays of a batch, shape [rows, block]. */
export interface SampleRows {
  readonly tokens: Int32Array
  /** Place in its row at which the document of each token starts. */
  readonly starts?: Int32Array
}

export function emptyRows({ block, hasStarts }: PackedSamples, rows: number): SampleRows {
  const tokens = new Int32Array(rows * block)
  return hasStarts ? { tokens, starts: new Int32Array(rows * block) } : { tokens }
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
}

/** @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL, TOKENIZER_MISMATCH */
export async function openPackedSamples(options: PackedSamplesOptions, pool: DescriptorPool): Promise<PackedSamples> {
  const files: PackedFile[] = []
  const manifests: (PackedManifest | undefined)[] = []
  const sampled: SampledFile[] = []
  for (const path of options.paths) {
    const file = await openPackedFile(path, pool)
    files.push(file)
    manifests.push(await manifestOf(file, options.tokenizer))
    sampled.push(await sampledFile(file, options))
  }
  const { parts, first, count, block, stride } = chooseSamples(sampled, options)
  const tokenizer = tokenizerOf(manifests, files)
  const startsOf = options.documents === 'mask' ? await startReader(files, tokenizer) : undefined
  const ranges = chosenRanges(sampled, options)
  return {
    files,
    count,
    first,
    block,
    ranges,
    tokenizer,
    hasStarts: startsOf !== undefined,
    identity: {
      dataBytes: files.reduce((sum, { header }) => sum + header.dataBytes, 0),
      tokenBytes: files[0]!.header.tokenBytes,
      files: digestOf(files.map(({ header }) => header.dataBytes)),
      ...(options.range !== 'all' && { range: digestOf(parts) }),
      ...contentOf(manifests),
    },
    readInto({ tokens, starts }, row, sample) {
      const { file, firstSample, firstToken } = parts.findLast(part => part.firstSample <= sample)!
      const first = firstToken + (sample - firstSample) * stride
      tokens.set(files[file]!.readTokens(first, block), row * block)
      starts?.set(startsOf!(tokens.subarray(row * block, (row + 1) * block), file, first), row * block)
    },
  }
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
