/**
 * Which chains of stages become one pass over the ranges of a file, and what that pass does. Kept apart from `fuse.ts`,
 * which builds the stage: a command derives the same work from its own stages before the code of a run is loaded, so that
 * the workers start early (`withStartedRun`) and the run finds them.
 */
import { statSync } from 'node:fs'
import { isPackedName } from '../files/source-file.js'
import { compileJq } from '../formats/jq.js'
import { DEFAULT_LINE_BYTES } from '../formats/jsonl.js'
import type { TokenBytes } from '../formats/pbin.js'
import { RANGE_BYTES, type RangeWork } from '../workers/ranges/range-run.js'

/** A stage with its options, checked or as a command writes them. */
export interface RangeStep {
  readonly name: string
  readonly options: Readonly<Record<string, unknown>>
}

/** The stages that a pass can replace; a fork into index and packing lists the branches after the head, in either order. */
const HEAD = 'read-file,read-lines,validate-json'
const PACKING = 'extract-text,tokenize-batches,write-pbin'
const CHAINS = [
  `${HEAD},write-index`,
  `${HEAD},${PACKING}`,
  `${HEAD},write-index,${PACKING}`,
  `${HEAD},${PACKING},write-index`,
]

/** The steps of a definition's list of stages, branches of forks one after the other. */
export function rangeSteps(stages: readonly object[]): RangeStep[] {
  return stages.flatMap(stage =>
    Object.entries(stage).flatMap(([name, value]) =>
      name === 'fork' ? (value as object[][]).flatMap(rangeSteps) : [{ name, options: value as RangeStep['options'] }],
    ),
  )
}

/** The pass that does the same as these stages; undefined where only the stages themselves can. */
export function rangeWorkOf(steps: readonly RangeStep[]): RangeWork | undefined {
  if (!CHAINS.includes(steps.map(step => step.name).join())) return undefined
  const optionsOf = (name: string): RangeStep['options'] => steps.find(step => step.name === name)?.options ?? {}
  const { path, compression = 'auto' } = optionsOf('read-file')
  const { limit, max_line_bytes: maxLineBytes = DEFAULT_LINE_BYTES } = optionsOf('read-lines')
  // Ranges need a file that can be read at any offset, to its end, whose lines fit into a range.
  const isPlain = compression === 'none' || (compression === 'auto' && !isPackedName(String(path)))
  if (!isPlain || limit !== undefined || Number(maxLineBytes) < RANGE_BYTES) return undefined
  if (statSync(String(path), { throwIfNoEntry: false })?.isFile() !== true) return undefined
  const work = {
    path: String(path),
    maxLineBytes: Number(maxLineBytes),
    index: steps.some(step => step.name === 'write-index'),
  }
  const tokenize = steps.find(step => step.name === 'tokenize-batches')?.options
  if (tokenize === undefined) return work
  // The kernel follows paths, while a filter that computes needs the record as a value; it has one tokenizer and no lengths.
  const { tokenizer, workers, special_tokens: specialTokens, fit_length: fitLength } = tokenize
  if (specialTokens !== undefined || fitLength !== undefined) return undefined
  const field = compileJq(String(optionsOf('extract-text').field ?? '.text'))?.path
  if (field === undefined) return undefined
  return {
    ...work,
    workers: workers as number | undefined,
    pack: {
      field,
      tokenizer: String(tokenizer),
      end_of_document: tokenize.end_of_document as string | undefined,
      token_bytes: tokenize.token_bytes as TokenBytes | undefined,
    },
  }
}
