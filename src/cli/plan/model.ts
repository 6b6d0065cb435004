/** What a plan consists of: see plan-definition.ts, which makes one, and plan-text.ts, which shows it. */

export interface Problem {
  readonly severity: 'error' | 'warning'
  readonly pipeline: string
  readonly message: string
}
export interface PlannedInput {
  readonly path: string
  /** Undefined for what does not exist yet. */
  readonly bytes: number | undefined
  /** The pipeline of the same definition that makes it. */
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
  /** False where the counts were carried forward from a part of the input. */
  readonly exact: boolean
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

/** What planning a pipeline may look up and add to. */
export interface PlanContext {
  /** Tokens of the packed files that earlier pipelines make, by path. */
  readonly madeTokens: Map<string, number>
  /** Ids of the tokenizers that earlier pipelines make, by path. */
  readonly madeVocabularies: Map<string, number>
  /** Which pipeline makes a file. */
  readonly madeBy: Map<string, string>
  readonly sizes: Map<string, number>
  problem(severity: Problem['severity'], message: string): void
}
