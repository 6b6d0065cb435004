/** The registry entry of a stage: its name in definitions, its options, and the facts that checks need before it is opened. */
import type * as z from 'zod'
import type { ItemKind } from '../../formats/batches.js'
import type { AnyStage } from './stage.js'

export interface StageEntry<Schema extends z.ZodType = z.ZodType> {
  readonly summary: string
  /** What it takes; absent for a source. */
  readonly accepts?: ItemKind
  /** What it gives; absent for a sink. */
  readonly emits?: ItemKind
  readonly options: Schema
  create(options: z.input<Schema>): AnyStage
  /**
   * Whether it can go on after a kill: it hands marks on with their batches, and needs no state from before one but what
   * it notes on it. A run keeps a journal when all of its stages can.
   */
  readonly resumable?: true
  /** Files that its options name, so that an output can be kept apart from the inputs before anything is opened. */
  reads?(options: z.output<Schema>): readonly string[]
  writes?(options: z.output<Schema>): readonly string[]
}
export type StageRegistry = Readonly<Record<string, StageEntry>>

export interface NamedStage extends StageEntry {
  /** In definitions. */
  readonly name: string
}

/** Checks an entry against its own schema, then forgets the schema's type, so that entries of all stages fit one list. */
export function defineStage<Schema extends z.ZodType>(
  entry: StageEntry<Schema> & { readonly name: string },
): NamedStage {
  return entry as unknown as NamedStage
}

export const fileOf = (options: { path: string }): readonly string[] => (options.path === '-' ? [] : [options.path])
export const pathsOf = (options: { paths: readonly string[] }): readonly string[] => options.paths
export const quarantineOf = (options: { quarantine?: string | undefined }): readonly string[] =>
  options.quarantine === undefined ? [] : [options.quarantine]
