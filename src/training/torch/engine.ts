/**
 * Training engine on PyTorch: one process per rank, started by torchrun and controlled over a Unix socket. Python only
 * computes; data, schedule and intervals stay in Node. See docs/distributed.md.
 */
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PenstockError } from '../../errors.js'
import type {
  Engine,
  EngineMemory,
  EvaluationResult,
  FileRecord,
  SavedFile,
  StepLimits,
  StepResult,
  TrainingBatch,
} from '../engine.js'
import { countTargets, requireFit } from '../engine.js'
import { type ModelOptions, type OptimizerOptions, requireDivisible, type TorchOptions } from '../options.js'
import { modelFile } from '../tensor-files.js'
import { weightSpecs } from '../weights.js'
import { peakFlopsOf } from './cards.js'
import { dealRows } from './deal.js'
import { findPython } from './python.js'
import { endedUnexpectedly, type RankFacts, Ranks } from './ranks.js'
import { makeRunFolder } from './run-folder.js'
import { type RankFailure, Torchrun } from './torchrun.js'

export interface TorchEngineOptions {
  readonly model: ModelOptions
  readonly optimizer: OptimizerOptions
  readonly gradientClip: number | null
  readonly torch: TorchOptions
  /** Where a folder with reports is created when the ranks take too long; default: the folder for temporary files. */
  readonly reportParent?: string | undefined
}

const closeTimeoutMs = 10_000

/** Socket path, set by ranks that a scheduler started: they connect to this process there. */
export const feedVariable = 'PENSTOCK_FEED'

/**
 * Starts the ranks, or waits for ranks that a scheduler started.
 * @throws PEER_MISSING without Python and torch, BACKEND_UNAVAILABLE, OPTION_INVALID, ENGINE_FAILED, STOPPED
 */
export async function openTorchEngine(options: TorchEngineOptions, signal?: AbortSignal): Promise<TorchEngine> {
  requireDivisible(options.model, options.torch)
  const feed = process.env[feedVariable]
  const python = feed === undefined ? findPython(options.torch.python) : undefined
  const folder = await makeRunFolder()
  const socketPath = feed ?? join(folder, 'feed')
  let engine: TorchEngine | undefined
  let onAbort = () => {}
  try {
    const time = new Date().toISOString().slice(0, 19).replaceAll(':', '-')
    const ranks = await Ranks.listen(socketPath, join(options.reportParent ?? tmpdir(), `penstock-timeout-${time}`))
    onAbort = () => ranks.fail(new PenstockError('STOPPED', 'stopped while the ranks were starting'))
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted) onAbort()
    const { nproc, device } = options.torch
    const torchrun =
      python === undefined
        ? undefined
        : new Torchrun({ python, nproc, device, socketPath, logFolder: join(folder, 'logs') })
    engine = new TorchEngine(options, folder, ranks, torchrun)
    await engine.open()
    return engine
  } catch (error) {
    await engine?.close()
    await rm(folder, { recursive: true, force: true })
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

export class TorchEngine implements Engine {
  stepsTaken = 0
  /** One is computed while the ranks already have the data of the next. */
  readonly maxStepsInFlight = 2
  readonly #options: TorchEngineOptions
  readonly #folder: string
  readonly #ranks: Ranks
  readonly #torchrun: Torchrun | undefined
  #weights: Promise<void> | undefined
  #memory: EngineMemory = { tensors: 0, bytes: 0 }

  constructor(options: TorchEngineOptions, folder: string, ranks: Ranks, torchrun: Torchrun | undefined) {
    this.#options = options
    this.#folder = folder
    this.#ranks = ranks
    this.#torchrun = torchrun
    void torchrun?.ended.then(how => {
      ranks.fail(new PenstockError('ENGINE_FAILED', `torchrun ended with ${how}`))
    })
  }

  get isPrimary(): boolean {
    return this.#ranks.facts[0]?.rank === 0
  }

  /** Whether this process feeds all ranks. */
  get #isOnlyFeeder(): boolean {
    const facts = this.#ranks.facts[0]
    return facts?.worldSize === facts?.localWorldSize
  }

  get peakFlops(): number | undefined {
    const first = this.#ranks.facts[0]
    const ofRank = first && peakFlopsOf(first.deviceName)
    return ofRank && ofRank * first.worldSize
  }

  get stopTogether(): (() => Promise<void>) | undefined {
    if (this.#isOnlyFeeder) {
      return undefined
    }
    return async () => {
      await this.#ask({ kind: 'step', stop: true })
    }
  }

  async open(): Promise<void> {
    const { model, optimizer, gradientClip, torch } = this.#options
    const decays = (group: string) => !optimizer.weight_decay_groups_excluded.some(excluded => excluded === group)
    const weights = weightSpecs(model).map(({ name, shape, group }) => [name, shape, decays(group)])
    const { start_timeout_s: seconds } = torch
    const timer = setTimeout(() => {
      void this.#ranks.failLate(`not all ranks connected within ${seconds} s (torch.start_timeout_s)`)
    }, 1000 * seconds)
    await this.#guard(this.#ranks.complete()).finally(() => clearTimeout(timer))
    const { python: _, shard_degree = null, ...others } = torch
    const options = { ...others, shard_degree }
    await this.#ask({ kind: 'open', model, optimizer, gradientClip, torch: options, weights })
  }

  async assertSameOnAllRanks(facts: Readonly<Record<string, string | number>>): Promise<void> {
    await this.#ask({ kind: 'agree', facts })
  }

  async attentionWarning(hasDocuments: boolean): Promise<string | undefined> {
    const { warning } = await this.#ask({ kind: 'attention', hasDocuments })
    return typeof warning === 'string' ? warning : undefined
  }

  async step(microBatches: readonly TrainingBatch[], learningRate: number, limits?: StepLimits): Promise<StepResult> {
    for (const batch of microBatches) {
      requireFit(batch, this.#options.model)
    }
    await this.#requireWeights()
    // Row weights already include the division by the number of targets.
    const isWeighted = microBatches.some(({ weights }) => weights !== undefined)
    const counted = isWeighted ? 1 : microBatches.reduce((sum, batch) => sum + countTargets(batch), 0)
    const digest = this.#isOnlyFeeder ? {} : { digest: digestOf(microBatches) }
    const header = { kind: 'step', counted, learning_rate: learningRate, ...(limits && { limits }), ...digest }
    const answer = await this.#deal(microBatches, header)
    if (answer.skipped === true) {
      return { loss: Number.NaN, gradientNorm: Number.NaN, skipped: true }
    }
    this.stepsTaken = Number(answer.stepsTaken)
    this.#memory = { tensors: this.#memory.tensors, bytes: Number(answer.memory) }
    const { loss, gradientNorm, memory, waited } = answer
    return {
      loss: Number(loss),
      gradientNorm: Number(gradientNorm),
      peakMemoryBytes: Number(memory),
      dataWaitMs: 1000 * Number(waited),
    }
  }

  async evaluate(batch: TrainingBatch): Promise<EvaluationResult> {
    requireFit(batch, this.#options.model)
    await this.#requireWeights()
    const { lossSum } = await this.#deal([batch], { kind: 'evaluate' })
    return { lossSum: Number(lossSum), tokens: countTargets(batch) }
  }

  async nextTokenLogits(ids: Int32Array): Promise<Float32Array> {
    requireFit({ inputs: ids, targets: ids, rows: 1, columns: ids.length }, this.#options.model)
    await this.#requireWeights()
    const command = { header: { kind: 'logits' }, payload: bytesOf(ids) }
    const [first] = await this.#guard(this.#ranks.ask(() => command))
    return new Float32Array(Uint8Array.from(first!.payload).buffer)
  }

  async saveState(folder: string, onCopied?: () => void): Promise<readonly SavedFile[]> {
    await this.#requireWeights()
    const written = this.#ranks.written()
    await this.#ask({ kind: 'save', folder, isAsync: onCopied !== undefined })
    onCopied?.()
    const { header } = await this.#guard(written)
    return (header.files as (FileRecord & { name: string })[]).map(({ name, ...record }) => ({ name, record }))
  }

  async loadState(folder: string): Promise<void> {
    const { stepsTaken } = await this.#ask({ kind: 'load', folder })
    this.stepsTaken = Number(stepsTaken)
    this.#weights = Promise.resolve()
  }

  async loadWeights(folder: string): Promise<void> {
    await this.#ask({ kind: 'weights', file: join(folder, modelFile) })
    this.#weights = Promise.resolve()
  }

  memory(): EngineMemory {
    return this.#memory
  }

  async close(): Promise<void> {
    // Ranks end together; those of another machine may still be writing a checkpoint.
    await this.#ranks.close(this.#isOnlyFeeder ? closeTimeoutMs : undefined)
    await this.#torchrun?.stop()
    await rm(this.#folder, { recursive: true, force: true })
  }

  /** Each rank computes its own part of the initial values, with the bits that the tfjs engine has. */
  #requireWeights(): Promise<void> {
    this.#weights ??= this.#setInitialWeights()
    return this.#weights
  }

  async #setInitialWeights(): Promise<void> {
    const { model } = this.#options
    const weights = weightSpecs(model).map(({ name, std, fill }) => [name, std, fill])
    await this.#ask({ kind: 'initialize', seed: model.seed, weights })
  }

  #ask(header: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> {
    return this.#guard(this.#ranks.ask(() => ({ header }))).then(answers => answers[0]!.header)
  }

  #deal(batches: readonly TrainingBatch[], header: Readonly<Record<string, unknown>>) {
    const groupSize = this.#options.torch.tensor_parallel
    const commandOf = ({ rank, worldSize }: RankFacts) => {
      const { shapes, numbers, ...optional } = dealRows(batches, Math.floor(rank / groupSize), worldSize / groupSize)
      return { header: { ...header, shapes, ...optional }, payload: bytesOf(numbers) }
    }
    const { step_timeout_s: seconds } = this.#options.torch
    const timeoutMs = seconds === null ? undefined : 1000 * seconds
    return this.#guard(this.#ranks.ask(commandOf, timeoutMs)).then(answers => answers[0]!.header)
  }

  /** Adds the last output of the ranks to an engine failure. */
  async #guard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      if (!(error instanceof PenstockError) || error.code !== 'ENGINE_FAILED' || this.#torchrun === undefined) {
        throw error
      }
      const failure = this.#ranks.lostRank
        ? await this.#torchrun.firstFailure(() => this.#ranks.disconnect())
        : undefined
      this.#ranks.disconnect()
      await this.#torchrun.stop()
      const lines = await this.#torchrun.lastLines()
      throw withLastLines(withFailure(error, failure), lines)
    }
  }
}

/** A rank that died explains an error better than the ranks that lost their connection to it. */
function withFailure(error: PenstockError, failure: RankFailure | undefined): PenstockError {
  if (failure === undefined) return error
  const { rank, how, isSignal } = failure
  if (!isSignal && !error.message.endsWith(endedUnexpectedly)) return error
  const message = `rank ${rank} of the torch engine ${how}`
  return new PenstockError('ENGINE_FAILED', message, error.where, error)
}

function withLastLines(error: PenstockError, lines: string): PenstockError {
  if (lines.includes("No module named 'torch'") || error.message.includes('ENOENT')) {
    const message = `the Python interpreter does not run or has no torch: run \`penstock setup torch\`, or set torch.python`
    return new PenstockError('PEER_MISSING', message, { path: 'torch.python' }, error)
  }
  const message = lines === '' ? error.message : `${error.message}\n${lines}`
  return new PenstockError('ENGINE_FAILED', message, error.where, error)
}

/** Digest of the samples of a step, compared between machines: 32-bit FNV-1a over the token ids. */
function digestOf(batches: readonly TrainingBatch[]): number {
  let digest = 0x811c9dc5
  for (const { inputs } of batches) {
    for (let index = 0; index < inputs.length; index++) {
      digest = Math.imul(digest ^ inputs[index]!, 0x01000193)
    }
  }
  return digest >>> 0
}

function bytesOf(numbers: Int32Array | Float32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)
}
