/**
 * Replaces consecutive stages with a faster equivalent: an uncompressed file that is split into lines, validated and
 * optionally tokenized is processed range by range in the workers, instead of batch by batch through this thread. The
 * output is byte-identical. A chain of any other form is returned unchanged.
 */
import type * as z from 'zod'
import { linesOfRanges, type ReadRangesOptions, readRanges, tokensOfRanges } from '../stages/read-ranges.js'
import type { RangeWork } from '../workers/ranges/range-run.js'
import type { CheckedChain, CheckedStep } from './check.js'
import { rangeWorkOf } from './range-work.js'
import type { StageEntry } from './registry.js'

/** A step that replaces others; reports show the names of those. */
interface FusedStep extends CheckedStep {
  readonly replaces: readonly string[]
}

/** Names of the steps of the definition that a step runs. */
export function namesRunBy(step: CheckedStep): readonly string[] {
  return (step as Partial<FusedStep>).replaces ?? [step.name]
}

/** The chain with all fusible steps fused. */
export function fuse(chain: CheckedChain): CheckedChain {
  const { steps, fork, merge } = chain
  if (merge.length > 0 || fork.some(branch => branch.merge.length > 0 || branch.fork.length > 0)) return chain
  if (fork.length !== 0 && fork.length !== 2) return chain
  const work = rangeWorkOf([...steps, ...fork.flatMap(branch => branch.steps)])
  if (work === undefined) return chain
  if (fork.length === 0) {
    const [sink] = steps.slice(-1)
    const part = sink!.name === 'write-index' ? linesStep() : tokensStep()
    return { ...chain, steps: [rangesStep(steps.slice(0, -1), work), part, sink!] }
  }
  const index = fork.find(branch => branch.steps[0]?.name === 'write-index')
  const packing = fork.find(branch => branch !== index)
  // The flat list does not show where the chain forks; only a fork right after the three head stages can be fused.
  if (steps.length !== 3 || index?.steps.length !== 1 || packing === undefined) return chain
  return {
    merge: [],
    steps: [rangesStep([...steps, ...packing.steps.slice(0, -1)], work)],
    fork: [
      { merge: [], steps: [linesStep(), index.steps[0]!], fork: [] },
      { merge: [], steps: [tokensStep(), packing.steps.at(-1)!], fork: [] },
    ],
  }
}

function rangesStep(steps: readonly CheckedStep[], work: RangeWork): FusedStep {
  const faults = Object.fromEntries(
    steps
      .filter(step => 'faulty' in step.options)
      .map(({ name, options: { faulty, quarantine, quarantine_if_exists, max_faulty } }) => [
        name,
        { faulty, quarantine, quarantine_if_exists, max_faulty },
      ]),
  ) as ReadRangesOptions['faults']
  const options: ReadRangesOptions = { work, faults }
  return partStep('read-ranges', () => readRanges(options), steps)
}

const linesStep = (): FusedStep => partStep('lines-of-ranges', linesOfRanges)
const tokensStep = (): FusedStep => partStep('tokens-of-ranges', tokensOfRanges)

/** @param replaced the steps of the definition that this one runs */
function partStep(name: string, create: StageEntry['create'], replaced: readonly CheckedStep[] = []): FusedStep {
  const entry = { summary: '', options: undefined as unknown as z.ZodType, create }
  const step = replaced[0]?.step ?? { stage: name, options: {}, path: [] }
  return { name, entry, options: {}, step, replaces: replaced.map(other => other.name) }
}
