/**
 * Policy for faulty records: fail the run, skip the record, or write it to a quarantine file. Faults are always counted
 * and carry line, byte offset and error code; other records are never affected.
 */

import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { ifExistsValues } from '../../files/output-file.js'
import { Quarantine, type QuarantineMember } from '../../files/quarantine.js'
import type { RecordFault } from '../../formats/extract.js'
import type { StageContext } from './stage.js'

/** Options of every stage that can find a faulty record. */
export const faultOptions = {
  faulty: z
    .enum(['fail', 'skip', 'quarantine'])
    .default('fail')
    .describe('what to do with a faulty record: fail the run, skip it, or write it to the quarantine file'),
  quarantine: z
    .string()
    .min(1)
    .optional()
    .describe('quarantine file to write (JSONL: source, line, byte_offset, code, message, record as base64)'),
  quarantine_if_exists: ifExistsValues
    .optional()
    .describe(
      'what to do when the quarantine file exists: error, skip (keep it and write no records) or override; by default what all outputs of the pipeline do, error if they differ',
    ),
  max_faulty: z
    .int()
    .nonnegative()
    .optional()
    .describe('maximum number of faulty records before the run fails; unlimited by default'),
}
export type FaultOptions = z.output<z.ZodObject<typeof faultOptions>>

/** Rejects `faulty: quarantine` without a file, and a file without that policy. */
export function checkFaultOptions(options: FaultOptions): boolean {
  return (options.faulty === 'quarantine') === (options.quarantine !== undefined)
}
export const faultOptionsMessage =
  'faulty: quarantine requires a quarantine file, and a quarantine file requires faulty: quarantine'

/** Memory of a quarantined record that waits for the next mark. */
const ENTRY_BYTES = 1024
/** Fields that a message lists, of records up to a size. */
const MAX_LISTED = 10
const MAX_LISTED_BYTES = 1 << 20

/** Applies the policy for the lifetime of a stage. `finish` commits the quarantine file, `abandon` discards it. */
export class FaultHandler {
  private readonly options: FaultOptions
  private readonly context: StageContext
  private readonly stage: string
  private quarantine: QuarantineMember | undefined
  private count: number

  constructor(options: FaultOptions, stage: string, context: StageContext) {
    this.options = options
    this.stage = stage
    this.context = context
    const { journal } = context
    const { quarantine } = options
    this.quarantine =
      quarantine === undefined
        ? undefined
        : Quarantine.join(quarantine, options.quarantine_if_exists ?? 'error', journal?.reservations)
    const name = `faults of ${stage}`
    this.count = journal?.restored<number>(name) ?? 0
    journal?.onMark(mark => {
      journal.note(mark, name, this.count)
      this.quarantine?.pass(mark)
    })
  }

  /** @throws the fault itself under `fail`; TOO_MANY_FAULTS above the limit */
  async handle(fault: RecordFault): Promise<void> {
    const where = { file: fault.file, line: fault.line, byteOffset: fault.byteOffset, stage: this.stage }
    if (this.options.faulty === 'fail') throw new PenstockError(fault.code, fault.message + fieldsIn(fault), where)
    this.context.stats.rejected++
    this.count++
    const limit = this.options.max_faulty
    if (limit !== undefined && this.count > limit) {
      throw new PenstockError(
        'TOO_MANY_FAULTS',
        `more than ${limit} faulty records (max_faulty); the last one: ${fault.message}`,
        where,
      )
    }
    if (this.quarantine === undefined) return
    this.context.journal?.holdUntilMark(ENTRY_BYTES)
    await this.quarantine.add(fault)
  }

  /** Gives the order of the files of a stage that reads several: quarantined records keep it. */
  orderSources(paths: readonly string[]): void {
    this.quarantine?.orderSources(paths)
  }

  async finish(): Promise<void> {
    await this.leave(true)
  }

  /** No-op after `finish`. */
  async abandon(): Promise<void> {
    await this.leave(false)
  }

  private async leave(whole: boolean): Promise<void> {
    const { quarantine } = this
    this.quarantine = undefined
    await quarantine?.leave(whole)
  }
}

/** The fields of a record that lacks one, for the message; empty for a record that is no JSON object. */
function fieldsIn({ code, record }: RecordFault): string {
  if (code !== 'FIELD_MISSING' || record.byteLength > MAX_LISTED_BYTES) return ''
  try {
    const value: unknown = JSON.parse(Buffer.from(record).toString('utf8'))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return ''
    const names = Object.keys(value)
    const more = names.length > MAX_LISTED ? `, and ${names.length - MAX_LISTED} more` : ''
    return names.length === 0 ? '' : `; it has ${names.slice(0, MAX_LISTED).join(', ')}${more}`
  } catch {
    return ''
  }
}

/** Runs `body` with a handler, which is finished when the body completes and abandoned when it fails. */
export async function* withFaultHandler<Out>(
  handler: FaultHandler,
  body: (handler: FaultHandler) => AsyncIterable<Out>,
): AsyncGenerator<Out> {
  try {
    yield* body(handler)
    await handler.finish()
  } finally {
    await handler.abandon()
  }
}
