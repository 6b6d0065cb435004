/** Types of a plan: definition.ts creates one, text.ts prints it. */
import type { Card } from '../../training/torch/cards.js'
import type { RankMemory } from '../../training/torch/memory.js'

export interface Problem {
  readonly severity: 'error' | 'warning'
  readonly pipeline: string
  readonly message: string
}
export interface PlannedInput {
  readonly path: string
  /** Undefined if the file does not exist yet. */
  readonly bytes: number | undefined
  /** Earlier pipeline of the same definition that writes this file. */
  readonly madeBy: string | undefined
}
export interface PlannedOutput {
  readonly path: string
  readonly bytes: number | undefined
  readonly exists: boolean
}
export interface Estimate {
  readonly documents?: number
  readonly tokens?: number
  readonly samples?: number
  readonly steps?: number
  readonly epochs?: number
  readonly parameters?: number
  readonly seconds?: number
  readonly memoryBytes?: number
  /** Shares of tokens, where samples are rows of whole documents. */
  readonly rows?: { readonly padding: number; readonly dropped: number }
  /** Sources of a mixture. */
  readonly sources?: readonly PlannedSource[]
  /** Instead of time and memory on this machine. */
  readonly cluster?: ClusterEstimate
  /** False if the counts are extrapolated from a part of the input. */
  readonly exact: boolean
}
export interface Cluster {
  readonly gpus: number
  readonly card: Card
}
/** A training on a cluster. */
export interface ClusterEstimate {
  readonly gpus: number
  readonly card: string
  readonly cardMemoryBytes: number
  readonly memory: RankMemory
  readonly fits: boolean
  readonly flopsPerToken: number
  /** Without the time of the network; unknown in float32. */
  readonly stepSeconds?: number
  /** Model FLOPs utilization (MFU) that the time of a step assumes. */
  readonly utilization?: number
}
export interface PlannedSource {
  readonly name: string
  /** Tokens of its files within its range. */
  readonly tokens: number
  /** Share of the tokens that the run trains on. */
  readonly share: number
  /** How often the run repeats its samples. */
  readonly epochs: number
}
export interface PipelinePlan {
  readonly name: string
  readonly reads: readonly PlannedInput[]
  readonly writes: readonly PlannedOutput[]
  readonly estimate: Estimate
}
export interface DiskNeed {
  readonly folder: string
  readonly neededBytes: number
  readonly freeBytes: number
}
export interface Plan {
  readonly pipelines: readonly PipelinePlan[]
  readonly disks: readonly DiskNeed[]
  readonly problems: readonly Problem[]
}

/** State shared by the plans of a definition's pipelines, which read it and add to it. */
export interface PlanContext {
  /** Time for which steps of a training are measured, if not the usual one. */
  readonly trainingProbeMs: number | undefined
  /** Token counts of the packed files that earlier pipelines write, by path. */
  readonly madeTokens: Map<string, number>
  /** Vocabulary sizes of the tokenizers that earlier pipelines train, by path. */
  readonly madeVocabularies: Map<string, number>
  /** Name of the pipeline that writes a file, by path. */
  readonly madeBy: Map<string, string>
  /** Estimated sizes of outputs, by path. */
  readonly sizes: Map<string, number>
  /** Where trainings are to run, if not on this machine. */
  readonly cluster: Cluster | undefined
  problem(severity: Problem['severity'], message: string): void
}
