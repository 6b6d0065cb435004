/**
 * Runs a pipeline or a training for two seconds, as the basis of a plan's time and counts. Sinks are replaced by ones
 * that discard their input, so a probe writes no files.
 */
import { existsSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { PenstockError } from '../../errors.js'
import { allSteps, type CheckedChain, type CheckedPipeline, type CheckedStep } from '../../pipelines/check.js'
import { type RunProgress, runPipeline, type StageReport } from '../../pipelines/run.js'
import { sink } from '../../stages/stream/stage.js'
import { type TrainingBatch, toTrainingBatch } from '../../training/engine.js'
import { openEngine } from '../../training/open-engine.js'
import type { ModelOptions, TrainingOptions } from '../../training/options.js'

const PROBE_MS = 2000
const SAMPLE_EVERY_MS = 50

export interface DataProbe {
  readonly stages: readonly StageReport[]
  /** Whether the whole input was processed. */
  readonly complete: boolean
  readonly startupMs: number
  /** Time since every sink had received records. */
  readonly workMs: number
  readonly memoryBytes: number
  readonly fault: PenstockError | undefined
}

/** Runs a pipeline without its outputs for two seconds. */
export async function probePipeline(pipeline: CheckedPipeline): Promise<DataProbe> {
  const abort = new AbortController()
  const started = performance.now()
  let memoryBytes = process.memoryUsage.rss()
  let startupMs: number | undefined
  let latest: RunProgress | undefined
  const onProgress = (progress: RunProgress): void => {
    latest = { ...progress, stages: progress.stages.map(copied) }
    memoryBytes = Math.max(memoryBytes, process.memoryUsage.rss())
    if (startupMs === undefined && haveAllSinksInput(progress.stages)) startupMs = performance.now() - started
    if (performance.now() - started > PROBE_MS + (startupMs ?? PROBE_MS)) abort.abort()
  }
  let fault: PenstockError | undefined
  const options = { signal: abort.signal, onProgress, progressIntervalMs: SAMPLE_EVERY_MS }
  const complete = await runPipeline({ ...pipeline, chain: withoutOutputs(pipeline.chain) }, options).then(
    () => true,
    error => {
      if (!(error instanceof PenstockError)) throw error
      if (error.code !== 'STOPPED') fault = error
      return false
    },
  )
  const elapsed = performance.now() - started
  const startup = Math.min(startupMs ?? elapsed, elapsed)
  return { stages: latest?.stages ?? [], complete, startupMs: startup, workMs: elapsed - startup, memoryBytes, fault }
}

const copied = ({ name, stats }: StageReport): StageReport => ({
  name,
  stats: { ...stats, counts: { ...stats.counts } },
})

/** Whether every sink has received input. */
const haveAllSinksInput = (stages: readonly StageReport[]): boolean =>
  sinksIn(stages).every(({ stats }) => stats.itemsIn > 0)

/** The last stages of a pipeline, or of the part that can be probed. */
export function sinksIn(stages: readonly StageReport[]): StageReport[] {
  return stages.filter(({ stats }) => stats.itemsOut === 0)
}

function withoutOutputs(chain: CheckedChain): CheckedChain {
  const blocked = chain.steps.findIndex(lacksTokenizer)
  return {
    merge: chain.merge.map(withoutOutputs),
    // Cut the chain at the first stage whose tokenizer does not exist yet.
    fork: blocked < 0 ? chain.fork.map(withoutOutputs) : [],
    steps: chain.steps
      .slice(0, blocked < 0 ? undefined : blocked + 1)
      .map((step, index) =>
        index === blocked || step.entry.emits === undefined ? discarding(step) : skippingFaults(step),
      ),
  }
}

/** Whether a step needs a tokenizer that an earlier pipeline of the definition has yet to train. */
export function lacksTokenizer({ options }: CheckedStep): boolean {
  return typeof options.tokenizer === 'string' && !existsSync(options.tokenizer)
}

function discarding(step: CheckedStep): CheckedStep {
  const create = () =>
    sink(step.name, async input => {
      for await (const _ of input);
    })
  const { resumable: _, ...entry } = step.entry
  return { ...step, entry: { ...entry, create } }
}

/** Counts faulty records without writing a quarantine file. */
function skippingFaults(step: CheckedStep): CheckedStep {
  if (!('faulty' in step.options) || step.options.faulty === 'fail') return step
  const { quarantine: _, ...options } = step.options
  return { ...step, options: { ...options, faulty: 'skip' } }
}

export interface TrainingProbe {
  readonly stepMs: number
  readonly startupMs: number
  /** Memory of this process and of the ranks; for ranks on a GPU, GPU memory. */
  readonly memoryBytes: number
}

/** Trains on random tokens. The first step counts as startup. @param probeMs time after it */
export async function probeTraining(
  training: TrainingOptions,
  model: ModelOptions,
  probeMs = PROBE_MS,
): Promise<TrainingProbe> {
  const started = performance.now()
  const engine = await openEngine(training, model)
  try {
    const batches = Array.from({ length: training.accumulation_steps }, () => randomBatch(training, model))
    await engine.step(batches, training.optimizer.learning_rate)
    const startupMs = performance.now() - started
    let [steps, rankBytes] = [0, 0]
    do {
      rankBytes = (await engine.step(batches, training.optimizer.learning_rate)).peakMemoryBytes ?? 0
      steps++
    } while (performance.now() - started - startupMs < probeMs)
    const stepMs = (performance.now() - started - startupMs) / steps
    // Only one rank reports its memory; the others use the same amount.
    return { stepMs, startupMs, memoryBytes: process.memoryUsage.rss() + rankBytes * training.torch.nproc }
  } finally {
    await engine.close()
  }
}

function randomBatch({ batch_size }: TrainingOptions, { sequence_length, vocab_size }: ModelOptions): TrainingBatch {
  const block = sequence_length + 1
  const tokens = Int32Array.from({ length: batch_size * block }, () => Math.floor(Math.random() * vocab_size))
  return toTrainingBatch(tokens, batch_size, block)
}

/** The training step of a pipeline, if it has one. */
export function trainingStep({ chain }: CheckedPipeline): CheckedStep | undefined {
  return allSteps(chain).find(step => step.name === 'feed-trainer')
}
