/**
 * Registry entry of a stage: its name in definitions, its options, and what checks need to know before it is opened.
 */
import type * as z from 'zod'
import type { SourceReading } from '../../files/sources/source-record.js'
import type { ItemKind } from '../../formats/batches.js'
import type { AnyStage } from './stage.js'

export interface StageEntry<Schema extends z.ZodType = z.ZodType> {
  readonly summary: string
  /** Kind of its input items; absent for a source. */
  readonly accepts?: ItemKind
  /** Kind of its output items; absent for a sink. */
  readonly emits?: ItemKind
  readonly options: Schema
  create(options: z.input<Schema>): AnyStage
  /**
   * Whether it can resume after a kill: it passes marks on with their batches and needs no earlier state except what it
   * notes on a mark. A run keeps a journal when all of its stages are resumable.
   */
  readonly resumable?: true
  /** Files that its options name, so that outputs can be checked against inputs before anything is opened. */
  reads?(options: z.output<Schema>): readonly string[]
  /** Files that manifests name as the sources of its items; by default, those that it reads. */
  records?(options: z.output<Schema>): readonly string[]
  /** Options by which it reads its sources, other than the defaults; manifests record them with the sources. */
  reading?(options: z.output<Schema>): SourceReading
  writes?(options: z.output<Schema>): readonly string[]
}
export type StageRegistry = Readonly<Record<string, StageEntry>>

export interface NamedStage extends StageEntry {
  /** Name in definitions. */
  readonly name: string
}

/** Type-checks an entry against its own schema, then erases the schema's type so that all entries fit into one list. */
export function defineStage<Schema extends z.ZodType>(
  entry: StageEntry<Schema> & { readonly name: string },
): NamedStage {
  return entry as unknown as NamedStage
}

export const fileOf = (options: { path: string }): readonly string[] => (options.path === '-' ? [] : [options.path])
export const pathsOf = (options: { paths: readonly string[] }): readonly string[] => options.paths
export const quarantineOf = (options: { quarantine?: string | undefined }): readonly string[] =>
  options.quarantine === undefined ? [] : [options.quarantine]
