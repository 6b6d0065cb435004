/**
 * Derives the range work of a chain: which chains can run as one pass over ranges of a file, and what that pass does.
 * Separate from `fuse.ts`, which builds the stage, because `pack` and `index` derive the same work before they load the
 * code of a run: their workers then start early (`withStartedRun`) and the run picks them up.
 */
import { statSync } from 'node:fs'
import { isPackedName } from '../files/source-file.js'
import { requireFormat, type SourceFormat } from '../files/source-format.js'
import { listOnce, type SourceOrder } from '../files/source-list.js'
import { compileJq } from '../formats/jq.js'
import { DEFAULT_LINE_BYTES } from '../formats/jsonl.js'
import type { TokenBytes } from '../formats/pbin.js'
import type { RangeWork } from '../workers/ranges/range-run.js'
import { RANGE_BYTES } from '../workers/ranges/range-sizes.js'

/** A stage and its options, before or after validation. */
export interface RangeStep {
  readonly name: string
  readonly options: Readonly<Record<string, unknown>>
}

/** Chains that a pass can replace. The branches of a fork into index and packing follow the head, in either order. */
const HEAD = 'read-file,read-lines,validate-json'
const PACKING = 'extract-text,tokenize-batches,write-pbin'
const CORPUS = 'read-corpus,tokenize-batches,write-pbin'
const CHAINS = [
  CORPUS,
  'read-parquet,tokenize-batches,write-pbin',
  `${HEAD},write-index`,
  `${HEAD},${PACKING}`,
  `${HEAD},write-index,${PACKING}`,
  `${HEAD},${PACKING},write-index`,
]

/** The steps of a definition's list of stages, with the branches of forks concatenated. */
export function rangeSteps(stages: readonly object[]): RangeStep[] {
  return stages.flatMap(stage =>
    Object.entries(stage).flatMap(([name, value]) =>
      name === 'fork' ? (value as object[][]).flatMap(rangeSteps) : [{ name, options: value as RangeStep['options'] }],
    ),
  )
}

const RANGE_FORMATS: readonly SourceFormat[] = ['jsonl', 'parquet']

type Lines = Pick<RangeWork, 'paths' | 'from' | 'to' | 'maxLineBytes'>

/** Ranges require random access to a file that is read to its end, and lines shorter than a range. */
function linesOfFile(optionsOf: (name: string) => RangeStep['options']): Lines | undefined {
  const { path, from = 0, to, compression = 'auto' } = optionsOf('read-file')
  const { limit, max_line_bytes: maxLineBytes = DEFAULT_LINE_BYTES } = optionsOf('read-lines')
  const isByName = compression === 'auto' || (compression === 'none' && !isPackedName(String(path)))
  const bounds = { from: Number(from), to: to as number | undefined }
  return isByName && limit === undefined
    ? { paths: [String(path)], ...bounds, maxLineBytes: Number(maxLineBytes) }
    : undefined
}

/** Undefined unless all files are JSONL, compressed or not, or Parquet. */
function linesOfCorpus({
  sources,
  order,
  from = 0,
  to,
  max_record_bytes: limit = DEFAULT_LINE_BYTES,
}: RangeStep['options']): Lines | undefined {
  try {
    const paths = listOnce(sources as string[], order as SourceOrder | undefined)
    return paths.every(path => RANGE_FORMATS.includes(requireFormat(path)))
      ? { paths, from: Number(from), to: to as number | undefined, maxLineBytes: Number(limit) }
      : undefined
  } catch {
    // The stage reports what is wrong with its sources.
    return undefined
  }
}

function linesOf({ name, options }: RangeStep, optionsOf: (name: string) => RangeStep['options']): Lines | undefined {
  if (name === 'read-corpus') return linesOfCorpus(options)
  return name === 'read-parquet'
    ? linesOfCorpus({ ...options, sources: [String(options.path)], order: 'given' })
    : linesOfFile(optionsOf)
}

/** The pass that is equivalent to these stages; undefined if there is none. */
export function rangeWorkOf(steps: readonly RangeStep[]): RangeWork | undefined {
  if (!CHAINS.includes(steps.map(step => step.name).join())) return undefined
  const optionsOf = (name: string): RangeStep['options'] => steps.find(step => step.name === name)?.options ?? {}
  const source = steps[0]!
  const lines = linesOf(source, optionsOf)
  if (lines === undefined || lines.maxLineBytes < RANGE_BYTES) return undefined
  if (lines.paths.some(path => statSync(path, { throwIfNoEntry: false })?.isFile() !== true)) return undefined
  const work = { ...lines, index: steps.some(step => step.name === 'write-index') }
  const tokenize = steps.find(step => step.name === 'tokenize-batches')?.options
  if (tokenize === undefined) return work
  // The kernel supports paths but no computed filters, a single end-of-document token, and no limit on lengths.
  const { tokenizer, workers, special_tokens: specialTokens, fit_length: fitLength } = tokenize
  if (specialTokens !== undefined || fitLength !== undefined) return undefined
  const field = compileJq(
    String((source.name === 'read-file' ? optionsOf('extract-text') : source.options).field ?? '.text'),
  )?.path
  if (field === undefined) return undefined
  return {
    ...work,
    workers: workers as number | undefined,
    pack: {
      field,
      tokenizer: String(tokenizer),
      end_of_document: tokenize.end_of_document as string | undefined,
      token_bytes: tokenize.token_bytes as TokenBytes | undefined,
      memory_mb: tokenize.memory_mb as number | undefined,
    },
  }
}
