/** Lines outside of a run's progress, and errors: text for people, JSON lines with `--json`. */
import { type ErrorCode, PenstockError } from '../../errors.js'
import { printStatus } from './print.js'

/** Remedies for errors that the user can resolve, by code; messages may be more specific. */
const REMEDIES: Readonly<Partial<Record<ErrorCode, string>>> = {
  ARGUMENT_INVALID: 'run the command with --help for its options',
  CHECKPOINT_INVALID: 'use an older checkpoint; penstock verify lists the damaged files',
  DATA_TOO_SMALL: 'pack more data, or reduce sequence_length or batch_size',
  FIELD_MISSING: 'check --field, or pass --faulty skip or --quarantine FILE',
  FILE_CHANGED: 'run the command again when the file is complete',
  FILE_EXISTS: 'pass --if-exists override or skip, or choose another output',
  FILE_IS_SOURCE: 'choose another output',
  FILE_MISSING: 'check the path',
  JSON_INVALID: 'correct the line, or pass --faulty skip or --quarantine FILE',
  OPTION_INVALID: 'run penstock stages NAME for the options of a stage',
  PEER_MISSING: 'run penstock doctor to see what is missing',
  STAGE_UNKNOWN: 'run penstock stages for a list',
  TOKENIZER_MISMATCH: 'use the tokenizer that the data was packed with',
  UTF8_INVALID: 'convert the file to UTF-8, or pass --faulty skip or --quarantine FILE',
}

/** Whether the command line asks for JSON lines. Known before any command parses its flags. */
export const isJsonRequested = (): boolean => process.argv.includes('--json')

/** Prints one line on standard error. */
export function notify(text: string, event: { readonly event: string; readonly [key: string]: unknown }): void {
  printStatus(`${isJsonRequested() ? JSON.stringify(event) : text}\n`)
}

/** Prints an error as one line, followed by its stack if PENSTOCK_DEBUG is set. */
export function printError(error: unknown): void {
  const text = error instanceof PenstockError ? error.toLine() : `internal error: ${String(error)}`
  notify(`penstock: ${text}`, { event: 'error', ...describeError(error) })
  if (process.env.PENSTOCK_DEBUG !== undefined && error instanceof Error) printStatus(`${error.stack}\n`)
}

export function describeError(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof PenstockError)) return { code: 'INTERNAL', message: String(error), where: {} }
  const { code, message, where } = error
  return { code, message, where, ...(REMEDIES[code] !== undefined && { remedy: REMEDIES[code] }) }
}

/** Reports that an older checkpoint is used. */
export function reportDamaged(error: PenstockError): void {
  notify(`skipped a damaged checkpoint: ${error.toLine()}`, { event: 'damaged-checkpoint', ...describeError(error) })
}
