/** Options shared by `run` and `warmstart` for Modalities configurations. */
import { type Command, Option } from 'commander'
import { PenstockError } from '../../errors.js'
import { printError } from '../output/notices.js'
import { dashboardOption } from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'
import type { ModalitiesRunFlags } from './run-config.js'

export interface ModalitiesFlags extends ModalitiesRunFlags {
  readonly error_log_folder?: string
}

export function addModalitiesOptions(command: Command): Command {
  return command
    .option('--error_log_folder <folder>', 'folder for error logs in JSON')
    .addOption(new Option('--engine <name>', 'training engine').choices(['tfjs', 'torch']))
    .option('--nproc <count>', 'torch: number of processes on this machine, one per GPU (the world size)', wholeNumber)
    .addOption(new Option('--device <name>', 'torch: device to train on').choices(['auto', 'cpu', 'cuda']))
    .option('--python <path>', 'torch: path of the Python interpreter that has torch installed')
    .option('--quiet', 'print errors only')
    .option('--json', 'write progress and results to stderr as JSON lines')
    .option(...dashboardOption)
}

/** Runs the configuration; a failure is also written to `error_log_folder` if given. */
export async function runOrLog(flags: ModalitiesFlags): Promise<void> {
  const { runModalities } = await import('./run-config.js')
  try {
    await runModalities(flags)
  } catch (error) {
    // A failure to write the log is printed in addition to the error, never instead of it.
    if (flags.error_log_folder !== undefined) await logError(flags.error_log_folder, error).catch(printError)
    throw error
  }
}

/** Writes an error log in the format and under the name that Modalities uses. */
async function logError(folder: string, error: unknown): Promise<void> {
  const { hostname } = await import('node:os')
  const { join } = await import('node:path')
  const { makeFolder } = await import('../../files/durable.js')
  const { writeOver } = await import('../../files/replace-file.js')
  const { message, stack } = error as Error
  const environment = { rank: 0, local_rank: 0, world_size: 1, hostname: hostname() }
  const entry = { environment, error: { error: message, type: typeOf(error), stacktrace: (stack ?? '').split('\n') } }
  await makeFolder(folder)
  await writeOver(join(folder, `error_logs_${environment.hostname}_0.log`), `${JSON.stringify(entry, null, 2)}\n`)
}

/** Error type for `--skip_exception_types`: torch's name for running out of memory, otherwise the Penstock error code. */
function typeOf(error: unknown): string {
  const { message, name } = error as Error
  if (message.includes('OutOfMemoryError')) return 'OutOfMemoryError'
  return error instanceof PenstockError ? error.code : name
}
