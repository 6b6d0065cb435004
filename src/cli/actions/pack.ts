/** The pipelines of `pack`: one packed file of all sources, or one for each that has none yet. */

import { mkdirSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { PenstockError } from '../../errors.js'
import { isRemote } from '../../files/remote/remote-name.js'
import { formatOf, type SourceFormat } from '../../files/source-format.js'
import { notify } from '../output/notices.js'
import {
  type FaultFlags,
  faultOptionsOf,
  type OutputFlags,
  outputNamedAfter,
  withoutEnding,
} from '../output/shared-options.js'
import { count } from '../output/terminal.js'
import { missingOutputs, policyOfEach } from './missing-outputs.js'
import { checkFormatOptions, filesOf, jsonlStages, onlyJsonl, type SourceFlags, textStages } from './read-sources.js'
import type { RunFlags } from './run-definition.js'

export interface PackFlags extends RunFlags, FaultFlags, OutputFlags, SourceFlags {
  readonly tokenizer: string
  readonly output?: string
  readonly outputFolder?: string
  readonly index?: string | boolean
  readonly endOfDocument?: string
  readonly workers?: number
  readonly memory?: number
}

/** @throws ARGUMENT_INVALID for flags that do not fit the sources; FILE_MISSING, UNSUPPORTED */
export async function packPipelines(sources: readonly string[], flags: PackFlags): Promise<Record<string, object[]>> {
  // Flags that contradict each other are reported before a missing source.
  const faults = faultOptionsOf(flags)
  if (flags.outputFolder !== undefined) return onePerSource(sources, flags, flags.outputFolder)
  const files = filesOf(sources, flags.order)
  checkFormatOptions(files, flags)
  const file = onlyJsonl(files)
  if (file !== undefined) return { pack: packStages(file, flags) }
  if (flags.index !== undefined && flags.index !== false) {
    throw new PenstockError('ARGUMENT_INVALID', '--index needs a single JSONL file; or give --output-folder')
  }
  const output = flags.output ?? (files.length === 1 ? outputNamedAfter(files[0]!, '.pbin') : undefined)
  if (output === undefined) {
    const message = `${files.length} sources need a name for the packed file: -o FILE, or --output-folder for one each`
    throw new PenstockError('ARGUMENT_INVALID', message)
  }
  return { pack: [...textStages(sources, flags, faults), ...packing(flags, output)] }
}

/** The stages for one JSONL file, with its index where one is asked for. */
export function packStages(source: string, flags: PackFlags): object[] {
  const stages = jsonlStages(source, flags.field, faultOptionsOf(flags))
  const tokens = packing(flags, flags.output ?? outputNamedAfter(source, '.pbin'))
  const path = flags.index === true ? outputNamedAfter(source, '.idx', '--index') : flags.index || undefined
  if (path === undefined) return [...stages, ...tokens]
  const index = [{ 'write-index': { path, if_exists: flags.ifExists } }]
  return [...stages.slice(0, -1), { fork: [index, [...stages.slice(-1), ...tokens]] }]
}

function packing(flags: PackFlags, path: string): object[] {
  const tokenize = {
    tokenizer: flags.tokenizer,
    ...(flags.endOfDocument === undefined ? {} : { end_of_document: flags.endOfDocument }),
    ...(flags.workers === undefined ? {} : { workers: flags.workers }),
    ...(flags.memory === undefined ? {} : { memory_mb: flags.memory }),
    ...faultOptionsOf(flags),
  }
  return [{ 'tokenize-batches': tokenize }, { 'write-pbin': { path, if_exists: flags.ifExists } }]
}

/** Packed files are laid out in the folder as the sources are below their common parent. */
async function onePerSource(
  sources: readonly string[],
  flags: PackFlags,
  folder: string,
): Promise<Record<string, object[]>> {
  if (flags.output !== undefined) {
    throw new PenstockError('ARGUMENT_INVALID', 'give either --output or --output-folder')
  }
  const files = filesOf(sources, flags.order)
  checkFormatOptions(files, flags)
  const parent = commonFolder(files)
  const outputs = new Map<string, string>()
  for (const file of files) {
    const output = pathIn(folder, outputNamedAfter(file === '-' ? file : relative(parent, file), '.pbin'))
    const other = outputs.get(output)
    if (other !== undefined) {
      throw new PenstockError('ARGUMENT_INVALID', `${other} and ${file} would both be packed into ${output}`)
    }
    outputs.set(output, file)
  }
  if (!isRemote(folder)) {
    for (const parents of new Set([...outputs.keys()].map(path => dirname(path))))
      mkdirSync(parents, { recursive: true })
  }
  const missing = await missingOutputs(outputs.keys(), flags.ifExists)
  const kept = outputs.size - missing.length
  if (kept > 0 && !flags.quiet)
    notify(`${count(kept)} of ${count(outputs.size)} packed files already exist`, { event: 'skipped', count: kept })
  const pipelines = missing.map(async output => {
    const file = outputs.get(output)!
    const name = isRemote(folder) ? output.slice(pathIn(folder, '').length) : relative(folder, output)
    const quarantine =
      flags.quarantine === undefined ? {} : { quarantine: `${flags.quarantine}.${name.replaceAll(sep, '-')}` }
    const index = flags.index === undefined || flags.index === false ? {} : { index: `${withoutEnding(output)}.idx` }
    const { outputFolder: _, index: __, textPer, delimiter, ...others } = flags
    const format = formatOf(file)
    const reading = { ...(format === 'text' && { textPer }), ...(isTable(format) && { delimiter }) }
    const ifExists = policyOfEach(flags.ifExists)
    const own = { ...others, ...reading, ...quarantine, ...index, output, ifExists }
    return [name, Object.values(await packPipelines([file], own))[0]!] as const
  })
  return Object.fromEntries(await Promise.all(pipelines))
}

const isTable = (format: SourceFormat | undefined): boolean => format === 'csv' || format === 'tsv'

/** `join` would turn `s3://` into `s3:/`. */
const pathIn = (folder: string, name: string): string =>
  isRemote(folder) ? `${folder.replace(/\/+$/, '')}/${name.split(sep).join('/')}` : join(folder, name)

function commonFolder(files: readonly string[]): string {
  let common = dirname(files[0]!).split(sep)
  for (const file of files) {
    const parts = dirname(file).split(sep)
    const end = common.findIndex((part, index) => part !== parts[index])
    if (end >= 0) common = common.slice(0, end)
  }
  return common.join(sep) || (files[0]!.startsWith(sep) ? sep : '.')
}
