/**
 * Holds what was written against its own form, its manifest and hashes and, where it is asked for, its source: indexes,
 * packed files, checkpoints, and folders of them. Reads everything, changes nothing, ends at no finding.
 */
import { readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { PenstockError } from '../errors.js'
import { openCheckpoint } from '../training/checkpoint.js'
import { compareIndex, comparePacked } from './compare-source.js'
import { Findings, type Verdict } from './findings.js'
import { verifyIndex } from './verify-index.js'
import { verifyPacked } from './verify-packed.js'

export interface VerifyOptions {
  /** Make everything anew from the source, and compare. */
  readonly deep?: boolean
  /** The JSONL file; that with the name of the index or packed file when absent. */
  readonly source?: string
  readonly tokenizer?: string
  /** The text of a record, as a jq filter; `.text` when absent. */
  readonly field?: string
  /** The token behind each document. */
  readonly endOfDocument?: string
}

const CHECKPOINT = /^step-\d{6,}$/
const LEFT_BEHIND = /\.(part|lock)$|^\.step-\d+\.(partial|old)$/

/**
 * One verdict for each index, packed file and checkpoint at a path.
 * @throws FILE_MISSING; ARGUMENT_INVALID for a file of another kind; what is wrong with source and tokenizer
 */
export async function* verifyPath(path: string, options: VerifyOptions = {}): AsyncGenerator<Verdict> {
  const stats = await stat(path).catch(error => {
    throw new PenstockError('FILE_MISSING', 'no such file or folder', { file: path }, error)
  })
  if (stats.isDirectory()) yield* verifyFolder(path, options)
  else if (path.endsWith('.idx')) yield await verifyOneIndex(path, options)
  else if (path.endsWith('.pbin')) yield await verifyOnePacked(path, options)
  else throw new PenstockError('ARGUMENT_INVALID', 'expected an .idx, a .pbin or a folder', { file: path })
}

async function* verifyFolder(folder: string, options: VerifyOptions): AsyncGenerator<Verdict> {
  const entries = await readdir(folder, { withFileTypes: true })
  if (CHECKPOINT.test(basename(folder)) || entries.some(({ name }) => name === 'state.json')) {
    yield await verifyCheckpoint(folder)
    return
  }
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (LEFT_BEHIND.test(entry.name)) yield leftover(path)
    else if (entry.isDirectory()) yield* verifyFolder(path, options)
    else if (/\.(idx|pbin)$/.test(entry.name)) yield* verifyPath(path, options)
  }
}

async function verifyOneIndex(path: string, { source, deep }: VerifyOptions): Promise<Verdict> {
  const origin = source ?? (await sourceBeside(path))
  const verdict = await verifyIndex(path, origin)
  if (!deep) return verdict
  const from = required(origin, 'the deep check needs the source', path)
  return withMore(verdict, findings => compareIndex(path, from, findings))
}

async function verifyOnePacked(path: string, options: VerifyOptions): Promise<Verdict> {
  const { tokenizer, deep, field = '.text', endOfDocument } = options
  const verdict = await verifyPacked(path, tokenizer)
  if (!deep) return verdict
  const made = {
    source: required(options.source ?? (await sourceBeside(path)), 'the deep check needs the source', path),
    tokenizer: required(tokenizer, 'the deep check needs the tokenizer', path),
    field,
    endOfDocument,
  }
  return withMore(verdict, findings => comparePacked(path, made, findings))
}

async function withMore(verdict: Verdict, check: (findings: Findings) => Promise<void>): Promise<Verdict> {
  const findings = new Findings()
  await findings.of(() => check(findings))
  return { ...verdict, findings: [...verdict.findings, ...findings.list] }
}

/** `corpus.jsonl` beside `corpus.idx` or `corpus.pbin`. */
async function sourceBeside(path: string): Promise<string | undefined> {
  const source = path.replace(/\.[^.]+$/, '.jsonl')
  return (await stat(source).catch(() => undefined))?.isFile() ? source : undefined
}

function required<Value>(value: Value | undefined, message: string, file: string): Value {
  if (value === undefined) throw new PenstockError('ARGUMENT_INVALID', message, { file })
  return value
}

function leftover(path: string): Verdict {
  const error = new PenstockError('FILE_LOCKED', 'of a run that goes on, or was killed', { file: path })
  return { path, kind: 'leftover', counts: {}, findings: [{ level: 'note', error }] }
}

/** Checks a checkpoint: its state, its digest, the hash of each file. */
async function verifyCheckpoint(path: string): Promise<Verdict> {
  const findings = new Findings()
  const checkpoint = await findings.of(() => openCheckpoint(path))
  const files = Object.values(checkpoint?.state.files ?? {})
  const counts = {
    step: checkpoint?.state.step ?? 0,
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
  }
  return { path, kind: 'checkpoint', counts, findings: findings.list }
}
