/** Options that `run` and `warmstart` share when they run a configuration of the reference system. */
import { type Command, Option } from 'commander'
import { PenstockError } from '../../errors.js'
import { dashboardOption } from '../output/shared-options.js'
import { printError, wholeNumber } from '../output/terminal.js'
import type { ReferenceRunFlags } from './run-config.js'

export interface ModalitiesFlags extends ReferenceRunFlags {
  readonly error_log_folder?: string
}

export function addModalitiesOptions(command: Command): Command {
  return command
    .option('--error_log_folder <folder>', 'where an error is written to, as JSON')
    .addOption(new Option('--engine <name>', 'what does the arithmetic').choices(['tfjs', 'torch']))
    .option('--nproc <count>', 'torch: processes on this machine, one for each GPU; the world size', wholeNumber)
    .addOption(new Option('--device <name>', 'torch: where to compute').choices(['auto', 'cpu', 'cuda']))
    .option('--python <path>', 'torch: the interpreter that has it')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'progress and results as JSON lines on standard error')
    .option(...dashboardOption)
}

/** Runs the configuration; a failure is also written to the folder that was asked for. */
export async function runOrLog(flags: ModalitiesFlags): Promise<void> {
  const { runReference } = await import('./run-config.js')
  try {
    await runReference(flags)
  } catch (error) {
    // That the log cannot be written is told beside the failure, never in its place.
    if (flags.error_log_folder !== undefined) await logError(flags.error_log_folder, error).catch(printError)
    throw error
  }
}

/** The reference's own form and name of an error log. */
async function logError(folder: string, error: unknown): Promise<void> {
  const { hostname } = await import('node:os')
  const { join } = await import('node:path')
  const { makeFolder, writeOver } = await import('../../files/durable.js')
  const { message, stack } = error as Error
  const environment = { rank: 0, local_rank: 0, world_size: 1, hostname: hostname() }
  const entry = { environment, error: { error: message, type: typeOf(error), stacktrace: (stack ?? '').split('\n') } }
  await makeFolder(folder)
  await writeOver(join(folder, `error_logs_${environment.hostname}_0.log`), `${JSON.stringify(entry, null, 2)}\n`)
}

/** What a sweep tells failures apart by: torch's own name of the one that a smaller batch mends, else our code. */
function typeOf(error: unknown): string {
  const { message, name } = error as Error
  if (message.includes('OutOfMemoryError')) return 'OutOfMemoryError'
  return error instanceof PenstockError ? error.code : name
}
