/** What a trainer tells of a run: each event says all that a log, a table or a chart needs, with its unit in its name. */
import type { PenstockError } from '../errors.js'
import type { BackendName } from './options.js'

export interface StepEvent {
  readonly kind: 'step'
  /** Steps taken, this one included. */
  readonly step: number
  readonly totalSteps: number
  readonly loss: number
  /** Mean over the steps since the last event of this kind. */
  readonly averageLoss: number
  readonly learningRate: number
  readonly gradientNorm: number
  readonly tokensPerSecond: number
  /** Since the start of the run, those before a resume included. */
  readonly consumedTokens: number
  readonly stepMs: number
  /** Share of what the devices could compute that the model needed (MFU); where the devices are known. */
  readonly utilization?: number
  readonly peakMemoryBytes?: number
  /** How long the devices waited for the data of this step. */
  readonly dataWaitMs?: number
}

export type TrainingEvent =
  | StepEvent
  | {
      readonly kind: 'evaluation'
      readonly step: number
      readonly loss: number
      readonly tokens: number
      readonly durationMs: number
    }
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string; readonly durationMs: number }
  | { readonly kind: 'resumed'; readonly step: number; readonly path: string }
  /** What `backend: auto` has taken. */
  | { readonly kind: 'backend'; readonly backend: BackendName; readonly reason: string }
  | { readonly kind: 'damaged-checkpoint'; readonly error: PenstockError }
  | ({ readonly kind: 'end' } & TrainingSummary)

/** Why a run ended: its last step was taken, it was asked to stop, or there were no more batches. */
export type EndReason = 'completed' | 'stopped' | 'data-ended'

export interface TrainingSummary {
  readonly reason: EndReason
  readonly step: number
  /** Undefined when no batch ever came and the length was given in epochs. */
  readonly totalSteps: number | undefined
  readonly consumedTokens: number
  /** Of the last step taken by this trainer. */
  readonly loss: number | undefined
  readonly heldOutLoss: number | undefined
  /** The last checkpoint written or resumed from. */
  readonly checkpoint: string | undefined
}
