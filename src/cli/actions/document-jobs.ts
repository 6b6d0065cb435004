/** Merge, shuffle, chunk and filter jobs as definitions, shared with the `data` commands of Modalities. */

import { dirname, extname } from 'node:path'
import { PenstockError } from '../../errors.js'
import { makeFolder } from '../../files/durable.js'
import { outputExists } from '../../files/output-file.js'
import { isRemote } from '../../files/remote/remote-name.js'
import { journalPathOf, outputTargetOf } from '../../files/side-files.js'
import { listPackedFiles } from '../../files/source-list.js'
import { notify } from '../output/notices.js'
import type { OutputFlags } from '../output/shared-options.js'
import { planOrRun } from './cluster/plan-or-run.js'
import type { PlanFlags } from './cluster/plan-shards.js'
import type { RunFlags } from './run-definition.js'

export interface JobFlags extends RunFlags, OutputFlags {}

export interface Chunk {
  readonly number: number
  readonly of: number
}

export async function mergePacked(sources: readonly string[], output: string, flags: JobFlags): Promise<void> {
  const paths = listPackedFiles(sources)
  await runJob('merge', [{ 'concat-pbin': { paths } }, packedSink(output, flags)], output, flags)
}

export interface Order {
  /** Type of the files; by default, the extension of the first. */
  readonly kind?: '.pbin' | '.jsonl'
  readonly seed?: number | undefined
  readonly chunk?: Chunk | undefined
}

/** Writes the documents or lines of files in shuffled order: all of them, or one chunk of each file. */
export async function shuffleFiles(
  paths: readonly string[],
  output: string,
  order: Order,
  flags: JobFlags & Partial<PlanFlags>,
): Promise<void> {
  const options = {
    paths,
    ...(order.seed === undefined ? {} : { seed: order.seed }),
    ...(order.chunk === undefined ? {} : { chunk: order.chunk }),
  }
  const kind = order.kind ?? extname(paths[0]!)
  const other = paths.find(path => order.kind === undefined && (extname(path) === '.pbin') !== (kind === '.pbin'))
  if (other !== undefined) {
    throw new PenstockError('ARGUMENT_INVALID', 'packed files and lines cannot be shuffled together', { file: other })
  }
  const isPacked = kind === '.pbin'
  const source = { [isPacked ? 'shuffle-documents' : 'shuffle-lines']: options }
  const sink = isPacked ? packedSink(output, flags) : { 'write-lines': { path: output, if_exists: flags.ifExists } }
  await runJob(order.chunk === undefined ? 'shuffle' : 'chunk', [source, sink], output, flags)
}

export async function filterPacked(path: string, output: string, filter: object, flags: JobFlags): Promise<void> {
  const stages = [{ 'read-pbin': { path } }, { 'filter-documents': filter }, packedSink(output, flags)]
  await runJob('filter', stages, output, flags)
}

export interface RowFlags {
  readonly sequenceLength: number
  readonly long: 'split' | 'drop'
  readonly seed: number
}

/** Writes the rows that the documents of packed files form. */
export async function packRows(sources: readonly string[], output: string, flags: JobFlags & RowFlags): Promise<void> {
  const { sequenceLength: sequence_length, long, seed, ifExists: if_exists } = flags
  const sink = { 'pack-samples': { path: output, sequence_length, long, seed, if_exists } }
  await runJob('pack-samples', [{ 'list-documents': { paths: listPackedFiles(sources) } }, sink], output, flags)
}

const packedSink = (path: string, { ifExists }: JobFlags) => ({ 'write-pbin': { path, if_exists: ifExists } })

async function runJob(
  name: string,
  stages: object[],
  output: string,
  flags: JobFlags & Partial<PlanFlags>,
): Promise<void> {
  if (await isKept(output, flags)) return
  if (!isRemote(output)) await makeFolder(dirname(output))
  await planOrRun(name, { [name]: stages }, flags)
}

/** Whether to keep an existing output (`--if-exists skip`); if so, prints a line. Runs before any input is read. */
export async function isKept(output: string, { ifExists, quiet }: JobFlags): Promise<boolean> {
  if (ifExists !== 'skip' || !(await outputExists(output))) return false
  // The output is complete, but the run was killed before it removed the journal, so it must be resumed.
  if (await outputExists(journalPathOf(await outputTargetOf(output)))) return false
  if (!quiet) notify(`${output}: already exists, skipped`, { event: 'skipped', outputs: [output] })
  return true
}
