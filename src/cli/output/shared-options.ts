/** Options that several commands share, and their translation into options of stages. */
import { type Command, Option } from 'commander'
import { PenstockError } from '../../errors.js'
import type { Variables } from '../../pipelines/definition.js'
import type { TrainingOptions } from '../../training/options.js'
import { wholeNumber } from './terminal.js'

export interface FaultFlags {
  readonly faulty: 'fail' | 'skip' | 'quarantine'
  readonly quarantine?: string
  readonly maxFaulty?: number
}
export interface OutputFlags {
  readonly ifExists: 'error' | 'skip' | 'override'
}

/** `--fresh`, for every command whose runs can go on after a kill. */
export const freshOption = [
  '--fresh',
  'start anew; without it, a run that was killed or stopped goes on where it had come',
] as const

/** `--dashboard`, for every command that runs something. */
export const dashboardOption = [
  '--dashboard [port]',
  'serve a page about the run while it goes on, on this machine only',
  wholeNumber,
] as const

const backends = ['wasm', 'cpu', 'node', 'node-gpu', 'webgpu', 'auto'] satisfies TrainingOptions['backend'][]

export function backendOption(): Option {
  return new Option('--backend <name>', 'what computes for tfjs').choices(backends)
}

export function addFaultOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--faulty <policy>', 'what to do with a faulty record')
        .choices(['fail', 'skip', 'quarantine'])
        .default('fail'),
    )
    .option('--quarantine <file>', 'where faulty records go; implies --faulty quarantine')
    .option('--max-faulty <count>', 'fail after more faulty records than this', wholeNumber)
}

export function addOutputOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--if-exists <policy>', 'what to do when an output exists')
        .choices(['error', 'skip', 'override'])
        .default('error'),
    )
    .option(...freshOption)
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'progress and results as JSON lines on standard error')
    .option(...dashboardOption)
}

export function faultOptionsOf(flags: FaultFlags): Record<string, unknown> {
  return {
    faulty: flags.quarantine === undefined ? flags.faulty : 'quarantine',
    ...(flags.quarantine === undefined ? {} : { quarantine: flags.quarantine }),
    ...(flags.maxFaulty === undefined ? {} : { max_faulty: flags.maxFaulty }),
  }
}

/** `dir/name.jsonl.gz` -> `dir/name` */
export function withoutEnding(path: string): string {
  return path.replace(/\.(gz|zst)$/, '').replace(/\.[^./\\]+$/, '')
}

/** `--set name=value`, numbers and booleans as such. */
export function collectVariable(text: string, sofar: Variables): Variables {
  const at = text.indexOf('=')
  if (at <= 0) throw new PenstockError('ARGUMENT_INVALID', `--set expects name=value, found ${JSON.stringify(text)}`)
  return { ...sofar, [text.slice(0, at)]: typedValue(text.slice(at + 1)) }
}

function typedValue(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text
}
