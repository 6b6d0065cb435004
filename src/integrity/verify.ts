/**
 * Checks indexes, packed files, rows, checkpoints and folders of them against their format, their manifests and hashes and,
 * optionally, their source. Reads everything, changes nothing, and reports all findings, not just the first.
 */
import type { Stats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { PenstockError } from '../errors.js'
import { readPackedManifest } from '../files/manifest.js'
import { openPackedFile } from '../files/packed-file.js'
import { requireLocal } from '../files/source-file.js'
import { changesOf, type SourceRecord } from '../files/sources/source-record.js'
import { openCheckpoint } from '../training/checkpoint.js'
import { compareIndex, comparePacked } from './compare-source.js'
import { Findings, type Verdict } from './findings.js'
import { verifyIndex } from './verify-index.js'
import { verifyPacked } from './verify-packed.js'
import { verifyRows } from './verify-rows.js'

export interface VerifyOptions {
  /** Rebuild everything from the source and compare. */
  readonly deep?: boolean
  /**
   * The source; by default the sources that the manifest of a packed file records, or the JSONL file with the same name as the
   * index or packed file.
   */
  readonly source?: string
  readonly tokenizer?: string
  /** jq filter that yields the text of a record; by default `.text`. */
  readonly field?: string
  /** Token that ends each document. */
  readonly endOfDocument?: string
}

const CHECKPOINT = /^step-\d{6,}$/
const VERIFIABLE = /\.(idx|pbin|pack)$/
const LEFTOVER = /\.(part|lock|journal)$|^\.step-\d+\.(partial|old)$/

/**
 * Yields one verdict per index, packed file, `.pack` file and checkpoint at a path.
 * @throws FILE_MISSING; ARGUMENT_INVALID for a file of another kind; any error of opening the source or the tokenizer
 */
export async function* verifyPath(path: string, options: VerifyOptions = {}): AsyncGenerator<Verdict> {
  requireLocal(path)
  const stats = await statOf(path)
  if (stats.isDirectory()) yield* verifyFolder(path, options)
  else if (path.endsWith('.idx')) yield await verifyOneIndex(path, options)
  else if (path.endsWith('.pbin')) yield await verifyOnePacked(path, options)
  else if (path.endsWith('.pack')) yield await verifyRows(path)
  else requireKnown(path)
}

/** What `verifyPath` would verify, with sizes; of a checkpoint its folder. @throws FILE_MISSING, ARGUMENT_INVALID */
export async function* verifiableFiles(
  path: string,
): AsyncGenerator<{ readonly path: string; readonly bytes: number }> {
  requireLocal(path)
  const stats = await statOf(path)
  if (!stats.isDirectory()) {
    requireKnown(path)
    yield { path, bytes: stats.size }
    return
  }
  const entries = await readdir(path, { withFileTypes: true })
  if (isCheckpoint(path, entries)) {
    const sizes = await Promise.all(entries.map(async ({ name }) => (await stat(join(path, name))).size))
    yield { path, bytes: sizes.reduce((sum, bytes) => sum + bytes, 0) }
    return
  }
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.isDirectory() ? !LEFTOVER.test(entry.name) : VERIFIABLE.test(entry.name)) {
      yield* verifiableFiles(join(path, entry.name))
    }
  }
}

async function statOf(path: string): Promise<Stats> {
  return stat(path).catch(error => {
    throw new PenstockError('FILE_MISSING', 'no such file or folder', { file: path }, error)
  })
}

/** @throws ARGUMENT_INVALID */
function requireKnown(path: string): void {
  if (VERIFIABLE.test(path)) return
  throw new PenstockError('ARGUMENT_INVALID', 'expected an .idx, a .pbin, a .pack or a folder', { file: path })
}

const isCheckpoint = (folder: string, entries: readonly { readonly name: string }[]): boolean =>
  CHECKPOINT.test(basename(folder)) || entries.some(({ name }) => name === 'state.json')

async function* verifyFolder(folder: string, options: VerifyOptions): AsyncGenerator<Verdict> {
  const entries = await readdir(folder, { withFileTypes: true })
  if (isCheckpoint(folder, entries)) {
    yield await verifyCheckpoint(folder)
    return
  }
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (LEFTOVER.test(entry.name)) yield leftover(path)
    else if (entry.isDirectory()) yield* verifyFolder(path, options)
    else if (VERIFIABLE.test(entry.name)) yield* verifyPath(path, options)
  }
}

async function verifyOneIndex(path: string, { source, deep }: VerifyOptions): Promise<Verdict> {
  const origin = source ?? (await siblingSource(path))
  const verdict = await verifyIndex(path, origin)
  if (!deep) return verdict
  const from = required(origin, 'the deep check needs the source', path)
  return withMore(verdict, findings => compareIndex(path, from, findings))
}

async function verifyOnePacked(path: string, options: VerifyOptions): Promise<Verdict> {
  const { tokenizer, deep, field = '.text', endOfDocument } = options
  const verdict = await verifyPacked(path, tokenizer)
  if (!deep) return verdict
  const recorded = await recordedSources(path)
  const packedSource = {
    ...(await packedSourcesOf(path, options.source, recorded)),
    reading: recorded?.reading ?? {},
    tokenizer: required(tokenizer, 'the deep check needs the tokenizer', path),
    field,
    endOfDocument,
  }
  const current = options.source === undefined ? recorded : undefined
  return withMore(verdict, async findings => {
    for await (const change of current === undefined ? [] : changesOf(current)) findings.add('damaged', change)
    await comparePacked(path, packedSource, findings)
  })
}

/** The sources that the user names, those that the manifest records, or the file that a packed file is named after. */
async function packedSourcesOf(path: string, given: string | undefined, recorded: SourceRecord | undefined) {
  if (given !== undefined) return { sources: [given], order: 'name' as const }
  // Files that were merged have no texts to pack again.
  if (recorded !== undefined && !recorded.paths.some(source => source.endsWith('.pbin'))) {
    return { sources: recorded.paths, order: 'given' as const }
  }
  const source = required(await siblingSource(path), 'the deep check needs the source', path)
  return { sources: [source], order: 'name' as const }
}

async function recordedSources(path: string): Promise<SourceRecord | undefined> {
  const file = await openPackedFile(path)
  try {
    return (await readPackedManifest(path, file.header))?.sources
  } finally {
    await file.close()
  }
}

async function withMore(verdict: Verdict, check: (findings: Findings) => Promise<void>): Promise<Verdict> {
  const findings = new Findings()
  await findings.run(() => check(findings))
  return { ...verdict, findings: [...verdict.findings, ...findings.list] }
}

/** `corpus.jsonl` in the folder of `corpus.idx` or `corpus.pbin`. */
async function siblingSource(path: string): Promise<string | undefined> {
  const source = path.replace(/\.[^.]+$/, '.jsonl')
  return (await stat(source).catch(() => undefined))?.isFile() ? source : undefined
}

function required<Value>(value: Value | undefined, message: string, file: string): Value {
  if (value === undefined) throw new PenstockError('ARGUMENT_INVALID', message, { file })
  return value
}

function leftover(path: string): Verdict {
  const error = new PenstockError('FILE_LOCKED', 'temporary file of a run that is still active or was killed', {
    file: path,
  })
  return { path, kind: 'leftover', counts: {}, findings: [{ level: 'note', error }] }
}

/** Checks a checkpoint: its state, its digest and the hash of each file. */
async function verifyCheckpoint(path: string): Promise<Verdict> {
  const findings = new Findings()
  const checkpoint = await findings.run(() => openCheckpoint(path))
  const files = Object.values(checkpoint?.state.files ?? {})
  const counts = {
    step: checkpoint?.state.step ?? 0,
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
  }
  return { path, kind: 'checkpoint', counts, findings: findings.list }
}
