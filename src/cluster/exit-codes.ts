/** Exit codes of a shard, by which a scheduler decides whether to retry (from BSD's sysexits.h). */
import { CONFIGURATION_ERRORS, type ErrorCode, PenstockError } from '../errors.js'

/** EX_DATAERR: the input is faulty, and a retry fails in the same way. */
export const FAULTY_INPUT = 65
/** EX_TEMPFAIL: a retry, perhaps on another machine, can succeed. */
export const TRY_AGAIN = 75
/** Wrong configuration: a retry fails in the same way. */
export const MISCONFIGURED = 2

/**
 * Failures of the machine, of its storage, or of the network. A missing file counts: shared storage may not be mounted on one
 * machine.
 */
const TEMPORARY: readonly ErrorCode[] = [
  'FILE_MISSING',
  'FILE_UNREADABLE',
  'FILE_UNWRITABLE',
  'FILE_LOCKED',
  'WORKER_FAILED',
  'WORKER_DIED',
  'WORKER_HUNG',
  'PEER_MISSING',
  'BACKEND_UNAVAILABLE',
  'STOPPED',
  'INTERNAL',
  'TOTALS_MISMATCH',
]

export function shardExitCode(error: unknown): number {
  if (!(error instanceof PenstockError) || TEMPORARY.includes(error.code)) return TRY_AGAIN
  return CONFIGURATION_ERRORS.includes(error.code) ? MISCONFIGURED : FAULTY_INPUT
}

/** Whether a scheduler should retry. */
export const isRetried = (exitCode: number): boolean => exitCode !== FAULTY_INPUT && exitCode !== MISCONFIGURED
