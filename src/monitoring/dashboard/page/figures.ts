/** Figures of a run, as columns of the table of runs and as tiles of a single run: one number format for each. */
import type { RunSummary } from '../run-history.js'
import { bytes, dateAndTime, duration, fixed, whole } from './numbers.js'

/** A running run logs more often than this; after a longer silence it was probably killed, or hangs. */
const SILENCE_MS = 60_000

export interface Figure {
  readonly key: string
  readonly label: string
  /** Undefined if the run has no such figure; null for a number that is not finite. */
  value(run: RunSummary): number | string | null | undefined
  text(value: number, run: RunSummary): string
}

const metric =
  (name: string) =>
  ({ latest }: RunSummary): number | null | undefined =>
    latest[name]

export const FIGURES: readonly Figure[] = [
  { key: 'state', label: 'State', value: stateOf, text: String },
  {
    key: 'step',
    label: 'Step',
    value: run => (trains(run) ? run.lastStep : undefined),
    text: (step, run) => {
      const total = totalStepsOf(run)
      return total === undefined ? whole(step) : `${whole(step)} of ${whole(total)}`
    },
  },
  { key: 'loss', label: 'Loss', value: metric('train/loss'), text: fixed(4) },
  { key: 'held-out', label: 'Held-out loss', value: metric('held_out/loss'), text: fixed(4) },
  { key: 'perplexity', label: 'Perplexity', value: metric('held_out/perplexity'), text: fixed(2) },
  { key: 'records', label: 'Records', value: recordsOf, text: whole },
  { key: 'record-rate', label: 'Records/s', value: run => rateOf(run, recordsOf(run)), text: whole },
  { key: 'bytes', label: 'Read', value: bytesOf, text: bytes },
  { key: 'tokens', label: 'Tokens', value: metric('train/consumed_tokens'), text: whole },
  { key: 'token-rate', label: 'Tokens/s', value: metric('train/tokens_per_second'), text: whole },
  { key: 'left', label: 'Time left', value: timeLeft, text: duration },
  { key: 'time', label: 'Time', value: run => run.elapsedMs, text: duration },
  { key: 'started', label: 'Started', value: run => run.info.startedAt, text: dateAndTime },
]

export function figureText(figure: Figure, run: RunSummary): string {
  const value = figure.value(run)
  if (value === undefined) return '–'
  if (value === null) return 'NaN'
  return typeof value === 'string' ? value : figure.text(value, run)
}

/** The figures that at least one of the runs has. */
export const figuresOf = (runs: readonly RunSummary[]): Figure[] =>
  FIGURES.filter(figure => runs.some(run => figure.value(run) !== undefined))

export const trains = ({ info }: RunSummary): boolean => 'feed-trainer' in info.config

/** Logs of older versions do not contain the number of steps. */
export function totalStepsOf({ totalSteps, info }: RunSummary): number | undefined {
  if (totalSteps !== undefined) return totalSteps
  const steps = (info.config['feed-trainer'] as { steps?: unknown } | undefined)?.steps
  return typeof steps === 'number' ? steps : undefined
}

export function isSilent({ outcome, updatedAt }: RunSummary): boolean {
  return outcome === 'running' && Date.now() - updatedAt > SILENCE_MS
}

function stateOf(run: RunSummary): string {
  return isSilent(run) ? `no update for ${duration(Date.now() - run.updatedAt)}` : run.outcome
}

/** Of the training at its current pace; without evaluations and checkpoints. */
function timeLeft(run: RunSummary): number | undefined {
  const { outcome, lastStep, latest } = run
  const [total, tokens, rate] = [totalStepsOf(run), latest['train/consumed_tokens'], latest['train/tokens_per_second']]
  if (outcome !== 'running' || total === undefined || lastStep === 0 || !tokens || !rate) return undefined
  return (1000 * Math.max(0, total - lastStep) * (tokens / lastStep)) / rate
}

/** Records read by the pipelines of a run without training. */
function recordsOf(run: RunSummary): number | undefined {
  return largestSum(run, ({ recordsIn, recordsOut }) => Math.max(recordsIn, recordsOut))
}

function bytesOf(run: RunSummary): number | undefined {
  return largestSum(run, ({ itemsIn, bytesOut }) => (itemsIn === 0 ? bytesOut : 0))
}

type Counts = RunSummary['pipelines'][string]['snapshot']['stages'][number]['stats']

/** The largest count of a stage, added up over the pipelines. */
function largestSum(run: RunSummary, countOf: (stats: Counts) => number): number | undefined {
  const states = Object.values(run.pipelines)
  if (trains(run) || states.length === 0) return undefined
  return states.reduce((sum, { snapshot }) => sum + Math.max(...snapshot.stages.map(({ stats }) => countOf(stats))), 0)
}

const rateOf = ({ elapsedMs }: RunSummary, amount: number | undefined): number | undefined =>
  amount === undefined || elapsedMs === 0 ? undefined : (1000 * amount) / elapsedMs
