/**
 * Plans a definition without running it: files, counts, time, memory, disk space and problems. Counts of files that an
 * earlier pipeline of the definition writes come from the plan of that pipeline.
 */
import { existsSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { sourceSize } from '../../files/source-list.js'
import { allSteps, type CheckedPipeline, type CheckedStep, checkDefinition } from '../../pipelines/check.js'
import type { Definition } from '../../pipelines/definition.js'
import { locateInputs } from '../../pipelines/run.js'
import { checkMonitoring } from '../../pipelines/sinks.js'
import { bytes } from '../output/terminal.js'
import { planData } from './data.js'
import type {
  Cluster,
  DiskNeed,
  Estimate,
  PipelinePlan,
  Plan,
  PlanContext,
  PlannedInput,
  PlannedOutput,
  Problem,
} from './model.js'
import { trainingStep } from './probe.js'
import { planTraining } from './training.js'

export interface PlanOptions {
  /** Where trainings are to run; by default on this machine. */
  readonly cluster?: Cluster | undefined
  /** Time for which steps of a training are measured. */
  readonly trainingProbeMs?: number
}

/**
 * @throws CONFIG_INVALID, STAGE_UNKNOWN, STAGES_MISFIT, FILE_IS_SOURCE
 */
export async function planDefinition(
  definition: Definition,
  { cluster, trainingProbeMs }: PlanOptions = {},
): Promise<Plan> {
  const pipelines = checkDefinition(definition)
  checkMonitoring(definition, pipelines)
  const problems: Problem[] = []
  const shared = {
    madeTokens: new Map<string, number>(),
    madeVocabularies: new Map<string, number>(),
    madeBy: new Map<string, string>(),
    sizes: new Map<string, number>(),
    cluster,
    trainingProbeMs,
  }
  const plans: PipelinePlan[] = []
  for (const pipeline of pipelines) {
    await locateInputs(pipeline)
    const problem = (severity: Problem['severity'], message: string): void =>
      void problems.push({ severity, pipeline: pipeline.name, message })
    plans.push(await planPipeline(pipeline, { ...shared, problem }))
  }
  const disks = await diskNeeds(plans.flatMap(plan => plan.writes))
  for (const { folder, neededBytes, freeBytes } of disks) {
    if (neededBytes > freeBytes) {
      const message = `not enough disk space in ${folder}: the outputs need ${bytes(neededBytes)}, ${bytes(freeBytes)} are free`
      problems.push({ severity: 'error', pipeline: '', message })
    }
  }
  return { pipelines: plans, disks, problems }
}

async function planPipeline(pipeline: CheckedPipeline, context: PlanContext): Promise<PipelinePlan> {
  const steps = allSteps(pipeline.chain)
  const reads = steps.flatMap(step => inputsOf(step, context))
  for (const { path, bytes: size, madeBy } of reads) {
    if (size === undefined && madeBy === undefined) context.problem('error', `${path} does not exist`)
  }
  const training = trainingStep(pipeline)
  let estimate: Estimate = { exact: false }
  try {
    if (training !== undefined) estimate = await planTraining(steps, training, context)
    else if (sourcesExist(pipeline)) estimate = await planData(pipeline, context)
    else if (reads.every(({ bytes: size, madeBy }) => size !== undefined || madeBy !== undefined)) {
      context.problem('warning', 'time and counts are unknown until its source exists')
    }
  } catch (error) {
    if (!(error instanceof PenstockError)) throw error
    context.problem('error', error.toLine())
  }
  const writes = [...steps.flatMap(step => outputsOf(step, context)), ...checkpointsOf(training, context)]
  for (const { path } of writes) context.madeBy.set(resolve(path), pipeline.name)
  for (const { name, options } of steps) {
    if (name === 'train-tokenizer')
      context.madeVocabularies.set(resolve(String(options.path)), Number(options.vocab_size))
  }
  return { name: pipeline.name, reads: unique(reads), writes: unique(writes), estimate }
}

function inputsOf({ entry, options }: CheckedStep, { madeBy }: PlanContext): PlannedInput[] {
  const tokenizer = typeof options.tokenizer === 'string' ? [options.tokenizer] : []
  const paths = new Set([...(entry.reads?.(options) ?? []), ...tokenizer])
  return Array.from(paths, path => ({ path, bytes: sizeOf(path), madeBy: madeBy.get(resolve(path)) }))
}

function sourcesExist({ chain }: CheckedPipeline): boolean {
  const sources = allSteps(chain).filter(({ entry }) => entry.accepts === undefined)
  return sources.every(({ entry, options }) => (entry.reads?.(options) ?? []).every(path => sizeOf(path) !== undefined))
}

function outputsOf({ name, entry, options }: CheckedStep, context: PlanContext): PlannedOutput[] {
  return (entry.writes?.(options) ?? []).map(path => {
    const exists = existsSync(path)
    const policy = path === options.quarantine ? options.quarantine_if_exists : options.if_exists
    if (exists && policy === 'error') {
      context.problem(
        'error',
        `${name}: output ${path} already exists; set if_exists to override or skip, or choose another path`,
      )
    }
    return { path, bytes: context.sizes.get(path), exists }
  })
}

function checkpointsOf(training: CheckedStep | undefined, { sizes }: PlanContext): PlannedOutput[] {
  const folder = (training?.options.checkpoint as { folder: string } | undefined)?.folder
  return folder === undefined ? [] : [{ path: folder, bytes: sizes.get(folder), exists: existsSync(folder) }]
}

/** Free and needed bytes per file system. A replaced file is not subtracted: old and new exist at the same time. */
async function diskNeeds(outputs: readonly PlannedOutput[]): Promise<DiskNeed[]> {
  const needs = new Map<number, DiskNeed>()
  for (const { path, bytes: size } of outputs) {
    if (size === undefined) continue
    const folder = existingFolder(dirname(resolve(path)))
    const { dev } = statSync(folder)
    const { bavail, bsize } = await statfs(folder)
    const before = needs.get(dev)
    needs.set(dev, {
      folder: before?.folder ?? folder,
      neededBytes: (before?.neededBytes ?? 0) + size,
      freeBytes: bavail * bsize,
    })
  }
  return [...needs.values()]
}

function existingFolder(folder: string): string {
  return existsSync(folder) || folder === dirname(folder) ? folder : existingFolder(dirname(folder))
}

/** Size of a file; 0 for a folder, undefined if nothing exists at the path. */
function sizeOf(path: string): number | undefined {
  return sourceSize(path) ?? (existsSync(path) ? 0 : undefined)
}

function unique<File extends { readonly path: string }>(files: readonly File[]): File[] {
  return [...new Map(files.map(file => [file.path, file])).values()]
}
