/**
 * What becomes of a faulty record: by the user's choice the run fails, or the record is skipped, or it is set aside in a
 * quarantine file. Always counted, always with line, byte offset and code; its neighbours never suffer.
 */

import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { Quarantine, type QuarantineMember } from '../../files/quarantine.js'
import type { RecordFault } from '../../formats/extract.js'
import type { StageContext } from './stage.js'

/** Options shared by every stage that can meet a faulty record. */
export const faultOptions = {
  faulty: z
    .enum(['fail', 'skip', 'quarantine'])
    .default('fail')
    .describe('what to do with a faulty record: fail the run, skip it, or write it to the quarantine file'),
  quarantine: z
    .string()
    .min(1)
    .optional()
    .describe('the quarantine file (JSONL: source, line, byte_offset, code, message, record as base64)'),
  max_faulty: z
    .int()
    .nonnegative()
    .optional()
    .describe('more faulty records than this fail the run; no limit when absent'),
}
export type FaultOptions = z.output<z.ZodObject<typeof faultOptions>>

/** Refuses a quarantine policy without a file, and a file without the policy. */
export function checkFaultOptions(options: FaultOptions): boolean {
  return (options.faulty === 'quarantine') === (options.quarantine !== undefined)
}
export const faultOptionsMessage = 'faulty: quarantine and a quarantine file go together'

/** Applies one policy over a stage's life. `finish` makes the quarantine file whole, `abandon` leaves none. */
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
    this.quarantine = quarantine === undefined ? undefined : Quarantine.join(quarantine, journal?.reservations)
    const name = `faults of ${stage}`
    this.count = journal?.noted<number>(name) ?? 0
    journal?.onMark(mark => {
      journal.note(mark, name, this.count)
      this.quarantine?.pass(mark)
    })
  }

  /** @throws the fault itself under `fail`, TOO_MANY_FAULTS past the limit. */
  async handle(fault: RecordFault): Promise<void> {
    const where = { file: fault.file, line: fault.line, byteOffset: fault.byteOffset, stage: this.stage }
    if (this.options.faulty === 'fail') throw new PenstockError(fault.code, fault.message, where)
    this.context.stats.rejected++
    this.count++
    const limit = this.options.max_faulty
    if (limit !== undefined && this.count > limit) {
      throw new PenstockError('TOO_MANY_FAULTS', `more than ${limit} faulty records; the last: ${fault.message}`, where)
    }
    await this.quarantine?.add(fault)
  }

  async finish(): Promise<void> {
    await this.leave(true)
  }

  /** Harmless after `finish`. */
  async abandon(): Promise<void> {
    await this.leave(false)
  }

  private async leave(whole: boolean): Promise<void> {
    const { quarantine } = this
    this.quarantine = undefined
    await quarantine?.leave(whole)
  }
}

/** Runs `body` with a handler that is finished or abandoned as the body ends. */
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
