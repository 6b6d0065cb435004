/** Options shared by several commands, and their conversion to stage options. */
import { basename } from 'node:path'
import { type Command, Option } from 'commander'
import { PenstockError } from '../../errors.js'
import { isRemote } from '../../files/remote/remote-name.js'
import type { Variables } from '../../pipelines/definition.js'
import type { TrainingOptions } from '../../training/options.js'
import { positiveInteger, wholeNumber } from './terminal.js'
import { rejectUnused } from './unused-flags.js'

export interface FaultFlags {
  readonly faulty: 'fail' | 'skip' | 'quarantine'
  readonly quarantine?: string
  readonly maxFaulty?: number
}
export interface OutputFlags {
  readonly ifExists: 'error' | 'skip' | 'override'
}

/** `--fresh`, for every command that can resume an interrupted run. */
export const freshOption = ['--fresh', 'start over instead of resuming an interrupted run'] as const

/** `--dashboard`, for every command that runs pipelines. */
export const dashboardOption = [
  '--dashboard [port]',
  'serve a dashboard of the run on this machine only; a free port is chosen when none is given',
  wholeNumber,
] as const

/** `--shards`, for every command whose work can be divided. */
export const shardsOption = [
  '--shards <count>',
  'do not run, but divide the work into this many shards, which penstock shards runs on several machines',
  positiveInteger,
] as const

export const shardFolderOption = [
  '--shard-folder <folder>',
  'folder of the plan and of the outputs of the shards, shared by all machines; by default, the output path with .shards',
] as const

const backends = ['wasm', 'cpu', 'node', 'node-gpu', 'webgpu', 'auto'] satisfies TrainingOptions['backend'][]

export function backendOption(): Option {
  return new Option('--backend <name>', 'backend of the tfjs engine').choices(backends)
}

/** `--text-per`, for every command that reads texts. */
export function textOption(): Option {
  const description = 'a document of a plain text file (.txt, .md): the whole file (the default), or each line'
  return new Option('--text-per <unit>', description).choices(['file', 'line'])
}

export function delimiterOption(): Option {
  const description = 'character between the fields of CSV and TSV files; by default, found in the first row'
  return new Option('--delimiter <name>', description).choices(['auto', 'comma', 'semicolon', 'tab', 'pipe'])
}

export function orderOption(): Option {
  const description = 'order of the sources: by the bytes of their names, or as given'
  return new Option('--order <order>', description).choices(['name', 'given']).default('name')
}

export function outputPolicyOption(description: string): Option {
  return new Option('--if-exists <policy>', description).choices(['error', 'skip', 'override']).default('error')
}

export function addFaultOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--faulty <policy>', 'how to handle a faulty record')
        .choices(['fail', 'skip', 'quarantine'])
        .default('fail'),
    )
    .addOption(
      new Option('--quarantine <file>', 'write faulty records to this file; implies --faulty quarantine').implies({
        faulty: 'quarantine',
      }),
    )
    .option('--max-faulty <count>', 'fail when there are more faulty records than this', wholeNumber)
}

export function addOutputOptions(command: Command): Command {
  return command
    .addOption(outputPolicyOption('how to handle an output that already exists'))
    .option(...freshOption)
    .option('--quiet', 'print only errors')
    .option('--json', 'print progress and results as JSON lines on standard error')
    .option(...dashboardOption)
}

/** @throws ARGUMENT_INVALID for flags without effect under the chosen policy */
export function faultOptionsOf(flags: FaultFlags): Record<string, unknown> {
  if (flags.faulty !== 'quarantine') rejectUnused(flags, ['quarantine'], `with --faulty ${flags.faulty}`)
  if (flags.faulty === 'fail') rejectUnused(flags, ['maxFaulty'], 'with --faulty fail, which is the default')
  return {
    faulty: flags.faulty,
    ...(flags.quarantine === undefined ? {} : { quarantine: flags.quarantine }),
    ...(flags.maxFaulty === undefined ? {} : { max_faulty: flags.maxFaulty }),
  }
}

/** `dir/name.jsonl.gz` -> `dir/name` */
export function withoutEnding(path: string): string {
  return path.replace(/\.(gz|zst)$/i, '').replace(/\.[^./\\]+$/, '')
}

/**
 * Path of an output that is named after its source: beside it, or in the working directory for a source where nothing can be
 * written.
 * @param option the option that sets the path
 * @throws ARGUMENT_INVALID for standard input, which has no name
 */
export function outputNamedAfter(source: string, ending: string, option = '-o'): string {
  const isReadOnly = isRemote(source) && !source.startsWith('s3://')
  if (source !== '-') return `${withoutEnding(isReadOnly ? basename(source) : source)}${ending}`
  throw new PenstockError(
    'ARGUMENT_INVALID',
    `standard input has no file name to name the output after: pass ${option} FILE`,
  )
}

/** `--set`, for every command that reads a definition. */
export const setOption = [
  '--set <name=value>',
  'set a variable of the definition; can be repeated',
  collectVariable,
] as const

/** Parses `--set name=value`; numbers and booleans keep their type. */
function collectVariable(text: string, previous: Variables = {}): Variables {
  const at = text.indexOf('=')
  if (at <= 0) throw new PenstockError('ARGUMENT_INVALID', `--set expects name=value, found ${JSON.stringify(text)}`)
  return { ...previous, [text.slice(0, at)]: typedValue(text.slice(at + 1)) }
}

function typedValue(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text
}
