/**
 * Which runs can go on after they were killed, and what makes two runs the same work: stages and options, the files that
 * are read, the tokenizer. With anything else that differs a run would go on with what another one began.
 */
import { createHash } from 'node:crypto'
import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { cachedFingerprint } from '../files/file-fingerprint.js'
import { RunJournal, type RunOutput } from '../files/journal/run-journal.js'
import type { IfExists } from '../files/output-file.js'
import { readWhole } from '../files/read-at.js'
import { isPackedName, openSource } from '../files/source-file.js'
import { tokenizerFileAt } from '../workers/tokenizer/tokenizer-setup.js'
import { allSteps, type CheckedChain, type CheckedStep } from './check.js'
import { namesRunBy } from './fuse.js'

/** What a run tells about its journal. */
export type ResumeEvent =
  /** It goes on where one that was killed had come: bytes of the input, and of all of it where that can be told. */
  | { readonly kind: 'continued'; readonly inputBytes: number; readonly totalBytes: number | undefined }
  /** Everything was done but the renaming. */
  | { readonly kind: 'finished' }
  /** A journal was there and is not used. */
  | { readonly kind: 'anew'; readonly reason: string }
  /** It failed; the next one of the same work goes on here. */
  | { readonly kind: 'kept'; readonly inputBytes: number; readonly totalBytes: number | undefined }

export interface JournalOptions {
  readonly resume?: boolean | undefined
  readonly markBytes?: number | undefined
}

/** Options that change how the work is done, and not what comes of it. */
const OPTIONS_IGNORED_FOR_RESUME: ReadonlySet<string> = new Set(['workers', 'chunk_bytes', 'if_exists'])

/**
 * The journal of a run that can have one: each of its stages can go on, and its one source is made of files.
 * @param running the chain as it runs, with what was fused
 * @throws FILE_LOCKED, FILE_EXISTS, FILE_UNWRITABLE
 */
export async function openRunJournal(
  chain: CheckedChain,
  running: CheckedChain,
  { resume, markBytes }: JournalOptions,
): Promise<RunJournal | undefined> {
  const steps = allSteps(chain)
  const outputs = outputsOf(steps)
  if (outputs.length === 0 || !steps.every(({ entry }) => entry.resumable === true)) return undefined
  const sources = await sourcesOf(steps)
  if (sources === undefined) return undefined
  const work = { ...stagesOf(steps, running), ...sources, ...(await tokenizersOf(steps)) }
  return RunJournal.open({ outputs, work, fresh: resume === false, markBytes })
}

/** Bytes of the source; undefined where they are packed, so that a position in them is none of these. */
export async function inputBytesOf(chain: CheckedChain): Promise<number | undefined> {
  let total = 0
  for (const { options, path } of sourceFiles(allSteps(chain))) {
    const isPacked = isPackedName(path) || options.compression === 'gzip' || options.compression === 'zstd'
    if (isPacked) return undefined
    total += (await stat(path).catch(() => undefined))?.size ?? 0
  }
  return total
}

/** Sinks first: the journal lies beside the first of them. */
function outputsOf(steps: readonly CheckedStep[]): RunOutput[] {
  const outputs = new Map<string, RunOutput>()
  const isSink = ({ entry }: CheckedStep): boolean => entry.emits === undefined
  for (const { entry, options } of [...steps.filter(isSink), ...steps.filter(step => !isSink(step))]) {
    for (const path of entry.writes?.(options) ?? []) {
      const ifExists = path === options.quarantine ? 'override' : ((options.if_exists ?? 'error') as IfExists)
      outputs.set(path, { path, ifExists })
    }
  }
  return [...outputs.values()]
}

/** The stages, and each one's options; paths in them as they are whatever the folder. */
function stagesOf(steps: readonly CheckedStep[], running: CheckedChain): Record<string, string> {
  const files = new Set(
    steps.flatMap(({ entry, options }) => [...(entry.reads?.(options) ?? []), ...(entry.writes?.(options) ?? [])]),
  )
  const told = (key: string, value: unknown): unknown => {
    if (OPTIONS_IGNORED_FOR_RESUME.has(key)) return undefined
    return typeof value === 'string' && files.has(value) ? resolve(value) : value
  }
  const stages: Record<string, string> = { 'the list of stages': JSON.stringify(allSteps(running).map(namesRunBy)) }
  for (const [index, { name, options }] of steps.entries()) {
    stages[`the options of stage ${index + 1}, ${name},`] = JSON.stringify(options, told)
  }
  return stages
}

/** What tells the sources from others under their names; undefined where they are no files, or several streams. */
async function sourcesOf(steps: readonly CheckedStep[]): Promise<Record<string, string> | undefined> {
  const files = sourceFiles(steps)
  if (steps.filter(({ entry }) => entry.accepts === undefined).length !== 1 || files.length === 0) return undefined
  const sources: Record<string, string> = {}
  for (const { path } of files) {
    const stats = await stat(path).catch(() => undefined)
    // A file that is not there is told by the stage that reads it.
    if (stats?.isFile() !== true) return undefined
    sources[resolve(path)] = await identityOf(path, stats)
  }
  return sources
}

function sourceFiles(steps: readonly CheckedStep[]): (Pick<CheckedStep, 'options'> & { readonly path: string })[] {
  return steps.flatMap(({ entry, options }) => (entry.reads?.(options) ?? []).map(path => ({ options, path })))
}

/**
 * Inode, size and time, and a few blocks, since an edit may leave these as they were. Not the device: its number may
 * change with a restart of the machine or a container.
 */
async function identityOf(path: string, { ino, size, mtimeMs }: Stats): Promise<string> {
  const { handle, stats } = await openSource(path)
  try {
    return [ino, size, mtimeMs, (await cachedFingerprint({ path, handle }, stats)).sample].join(' ')
  } finally {
    await handle.close()
  }
}

async function tokenizersOf(steps: readonly CheckedStep[]): Promise<Record<string, string>> {
  const tokenizers: Record<string, string> = {}
  for (const { tokenizer } of steps.map(({ options }) => options)) {
    if (typeof tokenizer !== 'string') continue
    const path = await tokenizerFileAt(tokenizer).catch(() => undefined)
    if (path === undefined) continue
    tokenizers[resolve(path)] = createHash('sha256')
      .update(await readWhole(path))
      .digest('hex')
  }
  return tokenizers
}
