/** Events of sample runs for the tests of sinks, and the Python environment that reads their files back. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { RunEvent, RunInfo } from '#src/monitoring/run-event'
import type { MetricSink } from '#src/monitoring/sinks/sink'
import type { StageStats } from '#src/stages/stream/stage'

/** Interpreter of the environment created by `node scripts/setup-python.mjs peers`; undefined if there is none. */
export function peersPython(): string | undefined {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'penstock')
  const made = (existsSync(cache) ? readdirSync(cache) : [])
    .filter(name => name.startsWith('peers-') && existsSync(join(cache, name, '.penstock-complete')))
    .map(name => join(cache, name, 'bin', 'python'))
  return made.find(path => existsSync(path))
}

export const wandbProgram = (python: string): string => join(dirname(python), 'wandb')

export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-monitoring-'))
  try {
    return await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const START = Date.UTC(2026, 0, 2, 3, 4, 5)

export const runInfo: RunInfo = {
  id: 'abcd1234',
  name: 'demo',
  startedAt: START,
  config: {
    'feed-trainer': { steps: 40, optimizer: { learning_rate: 1e-3, betas: [0.9, 0.95] }, tokenizer: 'tö/kenizer.json' },
    'read-file': { path: 'corpus.jsonl' },
    // Larger than two blocks of the W&B file.
    long: 'x'.repeat(70_000),
  },
  pipelines: [
    {
      name: 'train',
      nodes: [
        { id: 0, name: 'shuffle-samples', detail: 'corpus.pbin', layer: 0, row: 0 },
        { id: 1, name: 'feed-trainer', detail: '', layer: 1, row: 0 },
      ],
      edges: [{ from: 0, to: 1, items: 'samples' }],
    },
  ],
}

/** One step every 10 ms, with distinct values; the loss of step 5 is NaN. */
export function stepEvents(count: number): Extract<RunEvent, { kind: 'metrics' }>[] {
  return Array.from({ length: count }, (_, index) => {
    const step = index + 1
    const values = { 'train/loss': step === 5 ? Number.NaN : 5 / step, 'train/learning_rate': 1e-3 * step }
    return { kind: 'metrics', time: START + 10 * step, step, durationMs: 8, values }
  })
}

export function stageStats(changes: Partial<StageStats> = {}): StageStats {
  return {
    itemsIn: 0,
    itemsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    recordsIn: 0,
    recordsOut: 0,
    rejected: 0,
    recounts: false,
    waitedForInputMs: 0,
    waitedForOutputMs: 0,
    state: 'working',
    counts: {},
    notes: [],
    ...changes,
  }
}

/** A complete training run. */
export async function runThrough(sink: MetricSink, steps: number): Promise<void> {
  sink.log({ kind: 'run-start', time: START, run: runInfo })
  for (const event of stepEvents(steps)) sink.log(event)
  sink.log({ kind: 'run-end', time: START + 10 * steps, outcome: 'done' })
  await sink.close()
}

export const unexpected = (error: unknown): void => {
  throw error
}
