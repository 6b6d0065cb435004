/** Events of a trainer. Each event is complete in itself, for logs, tables and charts; names include units. */
import type { PenstockError } from '../errors.js'
import type { StepLimits } from './engine.js'
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
  /** Since the start of the run, including the steps before a resume. */
  readonly consumedTokens: number
  readonly stepMs: number
  /** Model FLOPs utilization (MFU); only for known devices. */
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
      /** Name of the held-out set; undefined for that of `held_out`. */
      readonly name?: string
      /** Present if the bytes per token of the text are known. */
      readonly bitsPerByte?: number
      readonly loss: number
      readonly tokens: number
      readonly durationMs: number
    }
  /** Losses of the sources of a mixture in the last batch of a step, by name, before the step's update. */
  | {
      readonly kind: 'source-losses'
      readonly step: number
      readonly losses: Readonly<Record<string, number>>
      readonly durationMs: number
    }
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string; readonly durationMs: number }
  | { readonly kind: 'resumed'; readonly step: number; readonly path: string }
  /** The layers are compiled by torch before the first step, which can take minutes. */
  | { readonly kind: 'compiling' }
  /** Attention has only a slow kernel on the GPUs of this run; the message has reason and remedy. */
  | { readonly kind: 'slow-attention'; readonly message: string }
  /** The backend that `backend: auto` resolved to. */
  | { readonly kind: 'backend'; readonly backend: BackendName; readonly reason: string }
  | { readonly kind: 'damaged-checkpoint'; readonly error: PenstockError }
  /** The loss is far above that of a uniform guess over the vocabulary. */
  | { readonly kind: 'diverged'; readonly step: number; readonly loss: number; readonly uniformLoss: number }
  /** A resumed run has another schedule, and its learning rate jumps. */
  | {
      readonly kind: 'schedule-changed'
      /** Steps taken before the change. */
      readonly step: number
      readonly previousLearningRate: number
      readonly learningRate: number
      readonly previousTotalSteps: number
      readonly totalSteps: number
    }
  /** A step without an update, because its loss or gradient norm is not finite (`nonfinite: skip`) or a spike (`skip_spikes`). */
  | {
      readonly kind: 'skipped-step'
      readonly step: number
      readonly loss: number
      readonly gradientNorm: number
      /** Present for a spike. */
      readonly limits?: StepLimits
      /** Number of steps skipped in a row, including this one. */
      readonly inARow: number
    }
  | ({ readonly kind: 'end' } & TrainingSummary)

/** Why a run ended: its last step was taken, a held-out loss no longer improved, a stop was requested, or the batches ended. */
export type EndReason = 'completed' | 'early-stop' | 'stopped' | 'data-ended'

export interface TrainingSummary {
  readonly reason: EndReason
  readonly step: number
  /** Undefined when there was no batch and the length was given in epochs. */
  readonly totalSteps: number | undefined
  readonly consumedTokens: number
  /** Loss of the last step of this trainer. */
  readonly loss: number | undefined
  readonly heldOutLoss: number | undefined
  /** The last checkpoint written or resumed from. */
  readonly checkpoint: string | undefined
}
