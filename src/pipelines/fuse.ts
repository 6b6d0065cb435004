/**
 * Puts one stage in the place of neighbours that do the same faster together: a plain file that is cut into lines,
 * checked and perhaps tokenized is worked on range by range in the workers, instead of line batch by line batch through
 * this thread. The written bytes are the same; a chain that is not exactly of this form stays as it is.
 */
import { statSync } from 'node:fs'
import type * as z from 'zod'
import { isPackedName } from '../files/source-file.js'
import { compileJq } from '../formats/jq.js'
import {
  linesOfRanges,
  type ReadRangesOptions,
  readRanges,
  readRangesOptions,
  tokensOfRanges,
} from '../stages/read-ranges.js'
import { RANGE_BYTES } from '../workers/ranges/range-run.js'
import type { CheckedChain, CheckedStep } from './check.js'
import type { StageEntry } from './registry.js'

/** A step that does the work of others; reports name those. */
interface FusedStep extends CheckedStep {
  readonly standsFor: readonly string[]
}

/** Names of the definition's steps that a step runs. */
export function namesRunBy(step: CheckedStep): readonly string[] {
  return (step as Partial<FusedStep>).standsFor ?? [step.name]
}

const HEAD = ['read-file', 'read-lines', 'validate-json'] as const
const PACKING = ['extract-text', 'tokenize-batches'] as const

/** The chain with what can be fused fused. */
export function fuse(chain: CheckedChain): CheckedChain {
  return fuseFork(chain) ?? fuseLine(chain) ?? chain
}

/** head, write-index | head, extract-text, tokenize-batches, write-pbin */
function fuseLine(chain: CheckedChain): CheckedChain | undefined {
  if (chain.merge.length > 0 || chain.fork.length > 0) return undefined
  const { steps } = chain
  const names = steps.map(step => step.name)
  if (sameNames(names, [...HEAD, 'write-index']) && canHead(steps)) {
    return { ...chain, steps: [rangesStep(steps.slice(0, 3), true), linesStep(), steps[3]!] }
  }
  if (sameNames(names, [...HEAD, ...PACKING, 'write-pbin']) && canHead(steps) && canPack(steps.slice(3))) {
    return { ...chain, steps: [rangesStep(steps.slice(0, 5), false, steps.slice(3, 5)), tokensStep(), steps[5]!] }
  }
  return undefined
}

/** head, then a fork into write-index and extract-text, tokenize-batches, write-pbin, in either order */
function fuseFork(chain: CheckedChain): CheckedChain | undefined {
  const { steps, fork, merge } = chain
  if (merge.length > 0 || fork.length !== 2 || !sameNames(namesOf(chain), HEAD) || !canHead(steps)) return undefined
  if (fork.some(branch => branch.merge.length > 0 || branch.fork.length > 0)) return undefined
  const index = fork.find(branch => sameNames(namesOf(branch), ['write-index']))
  const packing = fork.find(branch => sameNames(namesOf(branch), [...PACKING, 'write-pbin']))
  if (index === undefined || packing === undefined || !canPack(packing.steps)) return undefined
  const fused = rangesStep([...steps, ...packing.steps.slice(0, 2)], true, packing.steps.slice(0, 2))
  return {
    merge: [],
    steps: [fused],
    fork: [
      { merge: [], steps: [linesStep(), index.steps[0]!], fork: [] },
      { merge: [], steps: [tokensStep(), packing.steps[2]!], fork: [] },
    ],
  }
}

const namesOf = (chain: CheckedChain): string[] => chain.steps.map(step => step.name)
const sameNames = (names: readonly string[], expected: readonly string[]): boolean => names.join() === expected.join()

/** Ranges need a file that can be read at any place, all of it, with lines that fit into a range. */
function canHead([file, lines]: readonly CheckedStep[]): boolean {
  const { path, compression } = file!.options as { path: string; compression: string }
  const isPlain = compression === 'none' || (compression === 'auto' && !isPackedName(path))
  const { limit, max_line_bytes } = lines!.options as { limit?: number; max_line_bytes: number }
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true
  return isFile && isPlain && limit === undefined && max_line_bytes >= RANGE_BYTES
}

/** The kernel follows paths; a filter that computes needs the record as a value. It knows one tokenizer file, and no lengths. */
function canPack([extract, tokenize]: readonly CheckedStep[]): boolean {
  const { special_tokens: specialTokens, fit_length: fitLength } = tokenize!.options
  if (specialTokens !== undefined || fitLength !== undefined) return false
  return compileJq(String(extract!.options.field))?.path !== undefined
}

function rangesStep(steps: readonly CheckedStep[], index: boolean, packing: readonly CheckedStep[] = []): FusedStep {
  const [file, lines] = steps as [CheckedStep, CheckedStep]
  const [extract, tokenize] = packing
  const faulty = steps.filter(step => 'faulty' in step.options)
  const { workers } = (tokenize?.options ?? {}) as { workers?: number }
  const options: ReadRangesOptions = {
    path: String(file.options.path),
    max_line_bytes: Number(lines.options.max_line_bytes),
    workers,
    index,
    pack:
      extract === undefined || tokenize === undefined
        ? undefined
        : {
            field: [...compileJq(String(extract.options.field))!.path!],
            tokenizer: String(tokenize.options.tokenizer),
            end_of_document: tokenize.options.end_of_document as string | undefined,
            token_bytes: tokenize.options.token_bytes as 1 | 2 | 4 | undefined,
          },
    faults: Object.fromEntries(
      faulty.map(({ name, options: { faulty: policy, quarantine, max_faulty } }) => [
        name,
        { faulty: policy, quarantine, max_faulty },
      ]),
    ) as ReadRangesOptions['faults'],
  }
  const entry = { summary: '', options: readRangesOptions, create: readRanges } as unknown as StageEntry
  return {
    name: 'read-ranges',
    entry,
    options: { ...options },
    step: file.step,
    standsFor: steps.map(step => step.name),
  }
}

const linesStep = (): FusedStep => partStep('lines-of-ranges', linesOfRanges)
const tokensStep = (): FusedStep => partStep('tokens-of-ranges', tokensOfRanges)

function partStep(
  name: string,
  create: () => ReturnType<typeof linesOfRanges> | ReturnType<typeof tokensOfRanges>,
): FusedStep {
  const entry = { summary: '', options: undefined as unknown as z.ZodType, create } as unknown as StageEntry
  return { name, entry, options: {}, step: { stage: name, options: {}, path: [] }, standsFor: [] }
}
