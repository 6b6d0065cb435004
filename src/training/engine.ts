/**
 * Interface of the engines that compute training steps: TensorFlow.js in this process, or PyTorch in processes that are
 * fed from here. The trainer owns data, schedules and intervals; an engine knows nothing of them.
 */

import { PenstockError } from '../errors.js'
import type { ModelOptions } from './options.js'

/** Targets with this value are ignored, as in torch. */
export const ignoredTarget = -100

/** Documents of a micro batch: attention stays within each. */
export interface BatchDocuments {
  /** Column at which the document of each position starts; shape [rows, columns]. */
  readonly starts: Int32Array
  /** Whether positions start again at 0 in each document. */
  readonly restartPositions: boolean
}

/** One micro batch: row-major token ids; the target of each position is the next token. */
export interface TrainingBatch {
  /** Shape [rows, columns]. */
  readonly inputs: Int32Array
  /** Shape [rows, columns]; `ignoredTarget` where the loss is masked. */
  readonly targets: Int32Array
  readonly rows: number
  readonly columns: number
  /** Absent: each position attends to all before it in its row. */
  readonly documents?: BatchDocuments
  /** Weight of each row's counted targets in the loss of a step; absent: the mean over all counted targets. */
  readonly weights?: Float64Array
}

export interface StepResult {
  /** Mean over the counted targets of all micro batches, before the update. */
  readonly loss: number
  /** Global norm before clipping. */
  readonly gradientNorm: number
  /** Peak memory of rank 0 so far, where that is another process. */
  readonly peakMemoryBytes?: number
  /** How long the devices waited for this step's data, where they belong to another process. */
  readonly dataWaitMs?: number
  /** The step was not taken because another process of the run wants to save and stop; steps in flight are skipped too. */
  readonly skipped?: boolean
}

export function isFiniteStep({ loss, gradientNorm }: Pick<StepResult, 'loss' | 'gradientNorm'>): boolean {
  return Number.isFinite(loss) && Number.isFinite(gradientNorm)
}

/** Highest loss and gradient norm with which a step updates the weights. */
export interface StepLimits {
  readonly loss: number
  readonly gradientNorm: number
}

/** Limits of a run that only skips steps whose figures are not finite. */
export const FINITE_LIMITS: StepLimits = { loss: Number.MAX_VALUE, gradientNorm: Number.MAX_VALUE }

/** Whether a step updates the weights. */
export function isWithin(step: Pick<StepResult, 'loss' | 'gradientNorm'>, limits: StepLimits): boolean {
  return isFiniteStep(step) && step.loss <= limits.loss && step.gradientNorm <= limits.gradientNorm
}

export interface EvaluationResult {
  /** Cross-entropy in nats, summed over the counted targets, so that means over several batches are exact. */
  readonly lossSum: number
  readonly tokens: number
}

export interface EngineMemory {
  readonly tensors: number
  readonly bytes: number
}

export interface FileRecord {
  readonly bytes: number
  readonly sha256: string
  /** Present if `sha256` is the hash of the hashes of the file's parts of this size. */
  readonly partBytes?: number
}

/** Name of a file in the folder of a saved state, with size and hash if they are known from writing it. */
export type SavedFile = string | { readonly name: string; readonly record: FileRecord }

export interface Engine {
  /** Steps taken so far, those before a restored state included. */
  readonly stepsTaken: number
  /** Steps that may be in flight: an engine in another process gets the next batch while it computes one. */
  readonly maxStepsInFlight: number
  /** Peak floating-point operations per second of all devices; undefined where unknown. */
  readonly peakFlops?: number | undefined
  /** Whether this process writes the files of the run; others only take part in the engine's own writes. */
  readonly isPrimary: boolean
  /**
   * Ends the run of all processes that train together, after the steps in flight: the next one is skipped. Undefined
   * where this process trains alone.
   */
  readonly stopTogether?: (() => Promise<void>) | undefined
  /**
   * Verifies that all processes that train together have the same facts.
   * @throws WORLD_MISMATCH
   */
  assertSameOnAllRanks(facts: Readonly<Record<string, string | number>>): Promise<void>
  /**
   * A warning, with reason and remedy, if attention has only a slow kernel on the devices.
   * @param hasDocuments whether attention stays within documents
   */
  attentionWarning?(hasDocuments: boolean): Promise<string | undefined>
  /**
   * One update of the weights from the gradient averaged over all counted targets of the micro batches.
   * @param limits leaves weights and moments unchanged if the step is not within them (`isWithin`)
   * @throws ARGUMENT_INVALID, TOKENIZER_MISMATCH for a batch that does not fit the model, WORKER_FAILED, ENGINE_FAILED
   */
  step(microBatches: readonly TrainingBatch[], learningRate: number, limits?: StepLimits): Promise<StepResult>
  evaluate(batch: TrainingBatch): Promise<EvaluationResult>
  /** Logits, shape [vocab_size], of the token after `ids`; at most sequence_length ids. */
  nextTokenLogits(ids: Int32Array): Promise<Float32Array>
  /**
   * Writes weights and optimizer state as files into an existing folder, whose name is not final yet.
   * @param onCopied allows the engine to copy the state first: called when further steps may be taken, although the files are
   *   not complete. Not called by an engine that does not copy. The next save must wait for this one.
   * @returns the files, when they are complete
   */
  saveState(folder: string, onCopied?: () => void): Promise<readonly SavedFile[]>
  /**
   * @throws CHECKPOINT_INVALID when the files are damaged, WORLD_MISMATCH when they belong to another model
   */
  loadState(folder: string): Promise<void>
  /** Weights only, for inference; the moments are reset. @throws as `loadState` */
  loadWeights(folder: string): Promise<void>
  memory(): EngineMemory
  close(): Promise<void>
}

/** Cuts blocks of sequence_length + 1 tokens into inputs and targets. */
export function toTrainingBatch(tokens: Int32Array, rows: number, block: number): TrainingBatch {
  const columns = block - 1
  const inputs = new Int32Array(rows * columns)
  const targets = new Int32Array(rows * columns)
  for (let row = 0; row < rows; row++) {
    inputs.set(tokens.subarray(row * block, row * block + columns), row * columns)
    targets.set(tokens.subarray(row * block + 1, (row + 1) * block), row * columns)
  }
  return { inputs, targets, rows, columns }
}

/**
 * Checks shape and token ids of a batch against the model; the kernels have no bounds checks.
 * @throws ARGUMENT_INVALID for a wrong shape, TOKENIZER_MISMATCH for an id outside the model's vocabulary
 */
export function requireFit(batch: TrainingBatch, model: ModelOptions): void {
  const { inputs, targets, rows, columns } = batch
  const size = rows * columns
  if (inputs.length !== size || targets.length !== size || columns < 1 || columns > model.sequence_length) {
    throw new PenstockError(
      'ARGUMENT_INVALID',
      `a batch of [${rows}, ${columns}] has ${inputs.length} inputs and ${targets.length} targets; the model has ${model.sequence_length} positions`,
    )
  }
  requireDocumentStarts(batch)
  const isUnknown = (id: number) => !(id >= 0 && id < model.vocab_size)
  const unknown = inputs.find(isUnknown) ?? targets.find(id => isUnknown(id) && id !== ignoredTarget)
  if (unknown !== undefined) {
    throw new PenstockError(
      'TOKENIZER_MISMATCH',
      `a sample contains token ${unknown}; the model's vocab_size is ${model.vocab_size}`,
      {
        path: 'model.vocab_size',
      },
    )
  }
}

/** @throws ARGUMENT_INVALID for a document that starts after one of its positions, or before the document before it */
function requireDocumentStarts({ documents, rows, columns }: TrainingBatch): void {
  if (documents === undefined) return
  const { starts } = documents
  const isPossible = (start: number, index: number) =>
    start <= index % columns && start >= (index % columns === 0 ? 0 : starts[index - 1]!)
  if (starts.length === rows * columns && starts.every(isPossible)) return
  throw new PenstockError('ARGUMENT_INVALID', `a batch of [${rows}, ${columns}] has impossible document starts`)
}

export function countTargets(batch: Pick<TrainingBatch, 'targets'>): number {
  let count = 0
  for (const target of batch.targets) {
    if (target !== ignoredTarget) {
      count++
    }
  }
  return count
}

/** Rows that share one weight. */
export interface WeightedRows {
  readonly weight: number
  readonly batches: readonly TrainingBatch[]
}

/** Groups the rows of a step by weight; batches without weights form one group. */
export function rowsByWeight(microBatches: readonly TrainingBatch[]): WeightedRows[] {
  if (microBatches.every(({ weights }) => weights === undefined)) {
    // A step without a counted target has a gradient of zero, not NaN.
    const counted = microBatches.reduce((sum, batch) => sum + countTargets(batch), 0)
    return [{ weight: 1 / Math.max(1, counted), batches: microBatches }]
  }
  const found = new Map<number, TrainingBatch[]>()
  for (const batch of microBatches) {
    for (const weight of new Set(batch.weights)) {
      const rows = [...batch.weights!.keys()].filter(row => batch.weights![row] === weight)
      found.set(weight, [...(found.get(weight) ?? []), pickRows(batch, rows)])
    }
  }
  return [...found].map(([weight, batches]) => ({ weight, batches }))
}

export function pickRows(batch: TrainingBatch, rows: readonly number[]): TrainingBatch {
  const { columns } = batch
  if (rows.length === batch.rows) return batch
  return withRows(batch, rows.length, values => {
    const picked = new Int32Array(rows.length * columns)
    for (const [at, row] of rows.entries())
      picked.set(values.subarray(row * columns, (row + 1) * columns), at * columns)
    return picked
  })
}

/** A batch of other rows, without weights. @param pick maps an array of the batch, [rows, columns], to the other rows */
export function withRows(
  { inputs, targets, columns, documents }: TrainingBatch,
  rows: number,
  pick: (values: Int32Array) => Int32Array,
): TrainingBatch {
  const others = { inputs: pick(inputs), targets: pick(targets), rows, columns }
  return documents === undefined ? others : { ...others, documents: { ...documents, starts: pick(documents.starts) } }
}

/** Splits a batch into parts of at most `maxRows` rows, views of the same memory. */
export function cutRows(batch: TrainingBatch, maxRows: number): TrainingBatch[] {
  const { rows, columns } = batch
  if (rows <= maxRows) return [batch]
  return Array.from({ length: Math.ceil(rows / maxRows) }, (_, part) => {
    const [from, to] = [part * maxRows, Math.min(rows, (part + 1) * maxRows)]
    return withRows(batch, to - from, values => values.subarray(from * columns, to * columns))
  })
}
