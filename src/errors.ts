/**
 * The only error type of the library. Codes are API and never change their meaning; messages are for people and may change.
 * A message states what happened, what was found, what was expected and, when known, the remedy; `where` gives the location.
 */

/** Codes of all errors that Penstock throws. */
export type ErrorCode =
  // input records
  | 'JSON_INVALID' // a line is not one JSON value
  | 'UTF8_INVALID' // bytes that are not UTF-8
  | 'LINE_BLANK' // an empty line instead of a record
  | 'LINE_TOO_LONG' // a line longer than the limit
  | 'FIELD_MISSING' // the record lacks the field
  | 'FIELD_NOT_TEXT' // the field is not a string
  | 'DOCUMENT_EMPTY' // the field yields no tokens
  | 'TOO_MANY_FAULTS' // more faulty records than the limit allows
  // files and formats
  | 'FILE_MISSING'
  | 'FILE_EXISTS'
  | 'FILE_CHANGED' // a source grew, shrank or was replaced while it was read
  | 'FILE_DAMAGED' // the content differs from what was written
  | 'FILE_UNREADABLE'
  | 'FILE_UNWRITABLE'
  | 'FILE_IS_SOURCE' // an output that is one of the inputs
  | 'FILE_LOCKED' // another run is writing the same output
  | 'IDX_INVALID'
  | 'PBIN_INVALID'
  | 'PACK_INVALID'
  | 'CSV_INVALID'
  | 'PARQUET_INVALID'
  | 'ARROW_INVALID'
  | 'WARC_INVALID'
  | 'PICKLE_INVALID'
  | 'SAFETENSORS_INVALID'
  | 'TOKENIZER_INVALID'
  | 'CHECKPOINT_INVALID'
  // consistency
  | 'TOKENIZER_MISMATCH' // the tokenizer does not match the packed file or the model
  | 'TOKEN_TOO_WIDE' // a token id that does not fit the token width
  | 'DATA_TOO_SMALL' // fewer tokens than one block or than the steps need
  | 'WORLD_MISMATCH' // a cursor or checkpoint of a different data set, seed or sequence length
  | 'TOTALS_MISMATCH' // input records differ from output documents + rejected + filtered
  // definitions, options, arguments
  | 'CONFIG_INVALID'
  | 'OPTION_INVALID'
  | 'STAGE_UNKNOWN'
  | 'STAGES_MISFIT' // a stage does not accept the items of the stage before it
  | 'ARGUMENT_INVALID'
  // run time
  | 'PEER_MISSING' // an optional package or program is not installed
  | 'BACKEND_UNAVAILABLE'
  | 'WORKER_FAILED'
  | 'WORKER_DIED' // worker threads crashed, with or without a record being processed
  | 'WORKER_HUNG' // worker threads made no progress and were terminated
  | 'ENGINE_FAILED'
  | 'STOPPED' // by a signal or an abort
  | 'UNSUPPORTED'
  | 'INTERNAL'

/** Codes of a wrong configuration or command line: detected before any work, and the same on every attempt. */
export const CONFIGURATION_ERRORS: readonly ErrorCode[] = [
  'CONFIG_INVALID',
  'OPTION_INVALID',
  'STAGE_UNKNOWN',
  'STAGES_MISFIT',
  'ARGUMENT_INVALID',
  'FILE_IS_SOURCE',
]

/** Location of an error; every part is optional. Lines and columns count from 1, byte offsets and records from 0. */
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

  /** One line of text, without control characters: `file:line:column: message (byte 12, stage validate-json) [CODE]`. */
  toLine(): string {
    const message = this.message.replaceAll(/\s*\n\s*/g, ' ')
    return escapeControls(`${describePlace(this.where)}${message}${describeDetail(this.where)} [${this.code}]`)
  }
}

/**
 * Replaces the characters that control a terminal or reorder text (C0, C1, bidirectional overrides and isolates) with
 * escapes such as `\u001b`, which are also valid in JSON.
 */
export function escapeControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to replace
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, character => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** Wraps any error as a PenstockError and adds the parts of the location that the inner error lacks. */
export function toPenstockError(error: unknown, code: ErrorCode, where: Where = {}): PenstockError {
  if (error instanceof PenstockError) {
    return new PenstockError(error.code, error.message, { ...where, ...error.where }, error.cause ?? error)
  }
  return new PenstockError(code, error instanceof Error ? withWords(error.message) : String(error), where, error)
}

/** Error numbers of Linux and macOS for which Node has no text. */
const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  35: 'EDEADLK: a file lock would deadlock',
  37: 'ENOLCK: no file locks available',
  67: 'ENOLINK: the link to the file server is severed',
  69: 'EDQUOT: disk quota exceeded',
  70: 'ESTALE: stale file handle of a network file system',
  72: 'EMULTIHOP: multihop attempted',
  74: 'EBADMSG: the file system found a bad checksum or message',
  116: 'ESTALE: stale file handle of a network file system',
  117: 'EUCLEAN: the file system is damaged',
  121: 'EREMOTEIO: I/O error of a remote device',
  122: 'EDQUOT: disk quota exceeded',
  123: 'ENOMEDIUM: no medium in the drive',
  126: 'ENOKEY: the key of the encrypted file is not available',
  127: 'EKEYEXPIRED: the key of the file system has expired',
  128: 'EKEYREVOKED: the key of the file system was revoked',
  129: 'EKEYREJECTED: the key of the file system was rejected',
  133: 'EHWPOISON: a memory page has a hardware error',
}

function withWords(message: string): string {
  return message.replace(/Unknown system error -(\d+)(: Unknown system error -\d+)?/, (_, number: string) => {
    return SYSTEM_ERRORS[number] ?? `system error ${number}`
  })
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
