/**
 * Decides which runs are resumable and which two runs are the same work: same stages and options, same input files, same
 * tokenizer. If anything differs, the run starts over instead of continuing another run's output.
 */
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { journalledWork } from '../files/journal/resume-point.js'
import { RunJournal, type RunOutput } from '../files/journal/run-journal.js'
import type { IfExists } from '../files/output-file.js'
import { readWhole } from '../files/read-at.js'
import { isRemote } from '../files/remote/remote-name.js'
import { knownRemoteEntry, pinnedRevisions, pinRevision } from '../files/remote/remote-sources.js'
import { outputTargetOf } from '../files/side-files.js'
import { closeSource, isPackedName, openSource } from '../files/source-file.js'
import { absoluteSource, sourceSize } from '../files/source-list.js'
import { cachedFingerprint } from '../files/sources/file-fingerprint.js'
import { tokenizerFileAt } from '../workers/tokenizer/tokenizer-setup.js'
import { allSteps, type CheckedChain, type CheckedStep } from './check.js'
import { namesRunBy } from './fuse.js'

/** Reported by a run about its journal. */
export type ResumeEvent =
  /** The run resumes an interrupted one at `inputBytes`; `totalBytes` is undefined for compressed inputs. */
  | { readonly kind: 'continued'; readonly inputBytes: number; readonly totalBytes: number | undefined }
  /** The interrupted run had completed everything but the renames. */
  | { readonly kind: 'finished' }
  /** A journal exists but cannot be used; the run starts over. */
  | { readonly kind: 'anew'; readonly reason: string }
  /** The run failed; the next run of the same work resumes here. */
  | { readonly kind: 'kept'; readonly inputBytes: number; readonly totalBytes: number | undefined }

export interface JournalOptions {
  readonly resume?: boolean | undefined
  readonly markBytes?: number | undefined
}

/** Options that do not affect the output. */
const OPTIONS_IGNORED_FOR_RESUME: ReadonlySet<string> = new Set([
  'workers',
  'chunk_bytes',
  'if_exists',
  'quarantine_if_exists',
])

/**
 * Makes a run that can resume an interrupted one read the commits of data sets that that one has read. To be called before
 * the sources are located.
 */
export async function pinJournalledCommits(chain: CheckedChain): Promise<void> {
  const [first] = outputsOf(allSteps(chain))
  if (first === undefined) return
  const work = await journalledWork(await outputTargetOf(first.path))
  for (const [part, commit] of Object.entries(work ?? {})) {
    if (part.startsWith(COMMIT_OF)) pinRevision(part.slice(COMMIT_OF.length), commit)
  }
}

const COMMIT_OF = 'the commit of '

/**
 * Opens the journal of a run; undefined unless every stage is resumable and the single source reads regular files.
 * @param running the chain as run, after fusing
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

/** Total bytes of the source files; undefined if any is compressed, since positions then refer to decompressed bytes. */
export async function inputBytesOf(chain: CheckedChain): Promise<number | undefined> {
  let total = 0
  for (const { options, path } of sourceFiles(allSteps(chain))) {
    const isPacked = isPackedName(path) || options.compression === 'gzip' || options.compression === 'zstd'
    if (isPacked) return undefined
    total += sourceSize(path) ?? 0
  }
  return total
}

/** Outputs of sinks first: the journal is stored next to the first output. */
function outputsOf(steps: readonly CheckedStep[]): RunOutput[] {
  const outputs = new Map<string, RunOutput>()
  const isSink = ({ entry }: CheckedStep): boolean => entry.emits === undefined
  for (const { entry, options } of [...steps.filter(isSink), ...steps.filter(step => !isSink(step))]) {
    for (const path of entry.writes?.(options) ?? []) {
      const policy = path === options.quarantine ? options.quarantine_if_exists : options.if_exists
      outputs.set(path, { path, ifExists: (policy ?? 'error') as IfExists })
    }
  }
  return [...outputs.values()]
}

/** The list of stages and the options of each, with paths made absolute. */
function stagesOf(steps: readonly CheckedStep[], running: CheckedChain): Record<string, string> {
  const files = new Set(
    steps.flatMap(({ entry, options }) => [...(entry.reads?.(options) ?? []), ...(entry.writes?.(options) ?? [])]),
  )
  const normalized = (key: string, value: unknown): unknown => {
    if (OPTIONS_IGNORED_FOR_RESUME.has(key)) return undefined
    return typeof value === 'string' && files.has(value) ? absoluteSource(value) : value
  }
  const stages: Record<string, string> = { 'the list of stages': JSON.stringify(allSteps(running).map(namesRunBy)) }
  for (const [index, { name, options }] of steps.entries()) {
    stages[`the options of stage ${index + 1} (${name})`] = JSON.stringify(options, normalized)
  }
  return stages
}

/** Identity of each source file; undefined unless there is exactly one source and it reads regular files. */
async function sourcesOf(steps: readonly CheckedStep[]): Promise<Record<string, string> | undefined> {
  const files = sourceFiles(steps)
  if (steps.filter(({ entry }) => entry.accepts === undefined).length !== 1 || files.length === 0) return undefined
  const sources: Record<string, string> = {}
  const all = createHash('sha256')
  for (const { path } of files) {
    const identity = await identityOf(path, files.length <= MAX_SAMPLED_SOURCES)
    // A missing file is reported by the stage that reads it.
    if (identity === undefined) return undefined
    if (files.length <= MAX_SAMPLED_SOURCES) sources[absoluteSource(path)] = identity
    else all.update(JSON.stringify([absoluteSource(path), identity]))
  }
  const commits = Object.fromEntries(
    pinnedRevisions(files.map(({ path }) => path)).map(([name, commit]) => [`${COMMIT_OF}${name}`, commit]),
  )
  return files.length <= MAX_SAMPLED_SOURCES
    ? { ...sources, ...commits }
    : { ...commits, [`the list of ${files.length} sources`]: all.digest('hex') }
}

/** Of more sources the content is not sampled, and the journal keeps one digest of all. */
const MAX_SAMPLED_SOURCES = 64

function sourceFiles(steps: readonly CheckedStep[]): (Pick<CheckedStep, 'options'> & { readonly path: string })[] {
  return steps.flatMap(({ entry, options }) => (entry.reads?.(options) ?? []).map(path => ({ options, path })))
}

/**
 * Inode, size, mtime, ctime and a sample of the content, since an edit may preserve size and mtime. The device is excluded:
 * its number may change when the machine or container restarts. A remote file has a version instead.
 * @returns undefined for anything but a regular file
 */
async function identityOf(path: string, isSampled: boolean): Promise<string | undefined> {
  if (isRemote(path)) {
    const entry = knownRemoteEntry(path)
    return entry && `${entry.size} ${entry.version}`
  }
  // Synchronous: of 100,000 files the promises take seconds.
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats?.isFile() !== true) return undefined
  const { ino, size, mtimeMs, ctimeMs } = stats
  const state = [ino, size, mtimeMs, ctimeMs].join(' ')
  return isSampled ? `${state} ${await sampleOf(path)}` : state
}

async function sampleOf(path: string): Promise<string> {
  const { handle, stats } = await openSource(path)
  try {
    return (await cachedFingerprint({ path, handle }, stats)).sample
  } finally {
    await closeSource(path, handle)
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
