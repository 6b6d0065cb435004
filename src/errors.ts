/**
 * The one error type of the library. Codes are API and never change their meaning; messages are for people and may.
 * A message says what happened, what was found, what was expected and, when known, the remedy; `where` says the place.
 */

/** Every way in which Penstock refuses or fails. */
export type ErrorCode =
  // input records
  | 'JSON_INVALID' // a line is not one JSON value
  | 'UTF8_INVALID' // bytes that are not UTF-8
  | 'LINE_BLANK' // an empty line where a record is due
  | 'LINE_TOO_LONG' // a line longer than the limit
  | 'FIELD_MISSING' // the record lacks the field
  | 'FIELD_NOT_TEXT' // the field is no string
  | 'DOCUMENT_EMPTY' // the field has no tokens
  | 'TOO_MANY_FAULTS' // more faulty records than the limit allows
  // files and formats
  | 'FILE_MISSING'
  | 'FILE_EXISTS'
  | 'FILE_CHANGED' // a source grew, shrank or was replaced while it was read
  | 'FILE_DAMAGED' // its bytes are not those that were written
  | 'FILE_UNREADABLE'
  | 'FILE_UNWRITABLE'
  | 'FILE_IS_SOURCE' // an output that is one of the inputs
  | 'FILE_LOCKED' // another run writes the same output
  | 'IDX_INVALID'
  | 'PBIN_INVALID'
  | 'PICKLE_INVALID'
  | 'SAFETENSORS_INVALID'
  | 'TOKENIZER_INVALID'
  | 'CHECKPOINT_INVALID'
  // meaning
  | 'TOKENIZER_MISMATCH' // tokenizer and packed file, or tokenizer and model, do not fit
  | 'TOKEN_TOO_WIDE' // a token id that the width cannot hold
  | 'DATA_TOO_SMALL' // fewer tokens than one block, or than the steps need
  | 'WORLD_MISMATCH' // a cursor or checkpoint from another data set, seed or sequence length
  | 'TOTALS_MISMATCH' // records in differ from documents out + rejects + filtered
  // definitions, options, arguments
  | 'CONFIG_INVALID'
  | 'OPTION_INVALID'
  | 'STAGE_UNKNOWN'
  | 'STAGES_MISFIT' // the items of one stage are not what the next expects
  | 'ARGUMENT_INVALID'
  // run time
  | 'PEER_MISSING' // an optional package or program is not installed
  | 'BACKEND_UNAVAILABLE'
  | 'WORKER_FAILED'
  | 'ENGINE_FAILED'
  | 'STOPPED' // by a signal or an abort
  | 'UNSUPPORTED'
  | 'INTERNAL'

/** Where it happened; every part optional. Lines and columns count from 1, byte offsets and records from 0. */
export interface Where {
  readonly file?: string
  readonly line?: number
  readonly column?: number
  readonly byteOffset?: number
  readonly stage?: string
  /** Path of an option inside a definition, such as `stages[2].write-pbin.path`. */
  readonly path?: string
  readonly record?: number
}

export class PenstockError extends Error {
  override readonly name = 'PenstockError'
  readonly code: ErrorCode
  readonly where: Where

  constructor(code: ErrorCode, message: string, where: Where = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.where = where
  }

  /** One line for people: `file:line:column: message (byte 12, stage validate-json) [CODE]`. */
  toLine(): string {
    return `${describePlace(this.where)}${this.message.replaceAll(/\s*\n\s*/g, ' ')}${describeDetail(this.where)} [${this.code}]`
  }
}

/** Wraps what is not yet a PenstockError, and adds places that an inner error did not know. */
export function toPenstockError(error: unknown, code: ErrorCode, where: Where = {}): PenstockError {
  if (error instanceof PenstockError) {
    return new PenstockError(error.code, error.message, { ...where, ...error.where }, error.cause ?? error)
  }
  return new PenstockError(code, error instanceof Error ? error.message : String(error), where, error)
}

function describePlace(where: Where): string {
  const place = [where.file, where.line, where.line === undefined ? undefined : where.column]
    .filter(part => part !== undefined)
    .join(':')
  return place === '' ? '' : `${place}: `
}

function describeDetail(where: Where): string {
  const details = [
    where.path === undefined ? '' : `at ${where.path}`,
    where.record === undefined ? '' : `record ${where.record}`,
    where.byteOffset === undefined ? '' : `byte ${where.byteOffset}`,
    where.stage === undefined ? '' : `stage ${where.stage}`,
  ].filter(part => part !== '')
  return details.length === 0 ? '' : ` (${details.join(', ')})`
}
