/** Progress of work that is divided into shards, as the dashboard shows it: a part of the status of `penstock shards`. */

export type ShardState = 'failed' | 'lost' | 'retry' | 'running' | 'waiting' | 'done'

export interface PlanProgress {
  /** Folder of the plan. */
  readonly name: string
  readonly shards: number
  readonly counts: Readonly<Record<ShardState, number>>
  /** Of all sources, and of those processed. */
  readonly bytes: number
  readonly doneBytes: number
  readonly documents: number
  readonly tokens: number
  readonly records: number
  readonly rejected: number
  /** Undefined while it cannot be estimated. */
  readonly leftMs?: number | undefined
  /** Shards that are neither waiting nor done. */
  readonly active: readonly {
    readonly shard: number
    readonly state: ShardState
    readonly process?: string
    readonly error?: { readonly host: string; readonly message: string }
  }[]
}
