/** Packing by a Modalities configuration, and the path arguments of the `data` commands. */
import { stat } from 'node:fs/promises'
import { dirname, extname, join } from 'node:path'
import { PenstockError } from '../../errors.js'
import { makeFolder } from '../../files/durable.js'
import { packTokenizing, type Tokenizing } from '../../modalities/hugging-face-tokenizer.js'
import { configText, openPackPlan } from '../../modalities/plans/open-plan.js'
import type { ModalitiesPackPlan } from '../../modalities/plans/pack-plan.js'
import { noticeLine } from '../../modalities/plans/read-config.js'
import { definitionOf } from '../../pipelines/definition.js'
import { indexCoversFile } from '../../stages/read-documents.js'
import { isKept, type JobFlags } from '../actions/document-jobs.js'
import { runDefinition } from '../actions/run-definition.js'
import { printStatus } from '../output/print.js'
import { type FaultFlags, faultOptionsOf } from '../output/shared-options.js'

export interface PackFlags extends FaultFlags {
  /** The end-of-document token replaces the last token of a document of max_length instead of being appended. */
  readonly keep_length?: boolean
}

export async function packAsConfigured(config: string, flags: JobFlags & PackFlags): Promise<void> {
  const plan = await openPackPlan(config)
  if (!flags.quiet) for (const notice of plan.notices) printStatus(`${noticeLine(config, notice)}\n`)
  await packAsPlanned(plan, flags, [config])
}

export async function packAsPlanned(
  plan: ModalitiesPackPlan,
  flags: JobFlags & PackFlags,
  inputs: readonly string[],
): Promise<void> {
  const tokenizing = await packTokenizing(plan)
  if (await isKept(plan.outputPath, flags)) return
  await makeFolder(dirname(plan.outputPath))
  const stages = await packStages(plan, tokenizing, flags)
  await runDefinition(definitionOf({ name: 'pack', stages }, 'penstock data pack_encoded_data', inputs), flags)
}

/** If the index lists every line, the source is read without the index, which is faster. */
async function packStages(
  plan: ModalitiesPackPlan,
  tokenizing: Tokenizing,
  flags: JobFlags & PackFlags,
): Promise<object[]> {
  const faults = faultOptionsOf(flags)
  const { sourcePath: path, indexPath: index, filter: field } = plan
  const { fit_length: fit } = tokenizing
  const reading = (await indexCoversFile(path, index))
    ? [
        { 'read-file': { path } },
        { 'read-lines': faults },
        { 'validate-json': faults },
        { 'extract-text': { field, ...faults } },
      ]
    : [{ 'read-documents': { path, index, field, ...faults } }]
  return [
    ...reading,
    {
      'tokenize-batches': {
        ...tokenizing,
        ...(fit === undefined ? {} : { fit_length: { ...fit, keep_length: flags.keep_length === true } }),
        end_of_document: plan.endOfDocument,
        workers: plan.workers,
        ...faults,
      },
    },
    { 'write-pbin': { path: plan.outputPath, if_exists: flags.ifExists } },
  ]
}

/** @throws ARGUMENT_INVALID */
export function sourcesAndTarget(paths: readonly string[]): { sources: readonly string[]; target: string } {
  if (paths.length >= 2) return { sources: paths.slice(0, -1), target: paths.at(-1)! }
  throw new PenstockError(
    'ARGUMENT_INVALID',
    'expected at least two paths: the packed files to merge, then the output file',
  )
}

/**
 * Reads a list of relative paths, one per line, and replaces the extension of each.
 * @throws FILE_MISSING, ARGUMENT_INVALID
 */
export async function listedFiles(list: string, root: string, ending: string): Promise<string[]> {
  if ((await stat(root).catch(() => undefined))?.isDirectory() !== true) {
    throw new PenstockError('FILE_MISSING', 'folder not found', { file: root })
  }
  const lines = (await configText(list)).split('\n').map(line => line.trim())
  while (lines.at(-1) === '') lines.pop()
  const blank = lines.indexOf('')
  if (lines.length === 0 || blank >= 0) {
    throw new PenstockError('ARGUMENT_INVALID', 'expected one path per line', { file: list, line: blank + 1 || 1 })
  }
  return lines.map(line => join(root, `${line.slice(0, line.length - extname(line).length)}${ending}`))
}
