/**
 * What becomes of a faulty record: by the user's choice the run fails, or the record is skipped, or it is set aside in a
 * quarantine file. Always counted, always with line, byte offset and code; its neighbours never suffer.
 */

import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { RecordFault } from '../formats/extract.js'
import { type OutputFile, openOutput } from './output-file.js'
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
  private quarantine: Quarantine | undefined
  private count = 0

  constructor(options: FaultOptions, stage: string, context: StageContext) {
    this.options = options
    this.stage = stage
    this.context = context
    this.quarantine = options.quarantine === undefined ? undefined : Quarantine.join(options.quarantine)
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

/** One quarantine file, shared by the stages of a run that name it: made whole when the last of them has finished. */
class Quarantine {
  private static readonly open = new Map<string, Quarantine>()
  private readonly path: string
  private readonly file: Promise<OutputFile | undefined>
  private members = 0
  private whole = true

  private constructor(path: string) {
    this.path = path
    this.file = openOutput(path, 'override')
    // Whoever writes first, or leaves last, reports a file that cannot be opened.
    this.file.catch(() => {})
  }

  static join(path: string): Quarantine {
    const quarantine = Quarantine.open.get(path) ?? new Quarantine(path)
    Quarantine.open.set(path, quarantine)
    quarantine.members++
    return quarantine
  }

  async add(fault: RecordFault): Promise<void> {
    const entry = {
      source: fault.file,
      line: fault.line,
      byte_offset: fault.byteOffset,
      code: fault.code,
      message: fault.message,
      record: Buffer.from(fault.record).toString('base64'),
    }
    await (await this.file)?.write(Buffer.from(`${JSON.stringify(entry)}\n`))
  }

  async leave(whole: boolean): Promise<void> {
    this.whole &&= whole
    if (--this.members > 0) return
    Quarantine.open.delete(this.path)
    const file = await this.file
    await (this.whole ? file?.commit() : file?.abandon())
  }
}
