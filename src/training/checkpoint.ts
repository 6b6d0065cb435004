/**
 * Checkpoints: one folder each, `step-000123`, written atomically: first under a hidden name in the same parent folder,
 * then synced and renamed; only then are older ones removed. The state lists the hashes of the files, so that damage is
 * detected before training starts. The newest valid checkpoint is found by listing the folder; no link or index is needed.
 *
 *   step-000123/model.safetensors       weights
 *   step-000123/optimizer.safetensors   moments, steps taken
 *   step-000123/optimizer/              the same in checkpoints of the torch engine of earlier versions (DCP)
 *   step-000123/tokenizer.json          copy of the tokenizer, or tokenizer.model, and its configuration if there is one
 *   step-000123/state.json              everything else: `CheckpointState`, and a digest of itself
 */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'
import { changing, makeFolder, removeFolder, syncFile, syncFolder } from '../files/durable.js'
import { readAll } from '../files/read-at.js'
import { describeIssue } from '../formats/option-issue.js'
import { checkpointTokenizerNames, copyTokenizer } from './checkpoint-tokenizer.js'
import type { Engine, FileRecord, SavedFile } from './engine.js'
import { trainingSchemas } from './options.js'

export const stateFile = 'state.json'
const finalName = /^step-(\d{6,})$/
const hiddenName = /^\.step-\d+\.(partial|old)$/
/** Files and folders that a checkpoint may contain. */
const ownNames: ReadonlySet<string> = new Set([
  stateFile,
  'model.safetensors',
  'optimizer.safetensors',
  'optimizer',
  ...checkpointTokenizerNames,
])

const count = z.int().nonnegative()
const digest = z.string().regex(/^[0-9a-f]{64}$/)

const mixtureSchema = z.strictObject({
  sources: z.record(z.string(), z.strictObject({ samples: digest, content: digest.exactOptional() })),
  phases: z
    .array(z.strictObject({ firstSample: count, weights: z.record(z.string(), z.string().regex(/^\d+$/)) }))
    .readonly(),
})

const cursorSchema = z.strictObject({
  version: z.literal(1),
  globalSamples: count,
  seed: count,
  sampleCount: count,
  sequenceLength: count,
  dataBytes: count,
  tokenBytes: count,
  order: z.string().exactOptional(),
  firstSample: count.exactOptional(),
  block: count.exactOptional(),
  documents: z.literal('mask').exactOptional(),
  rows: digest.exactOptional(),
  files: digest.exactOptional(),
  content: digest.exactOptional(),
  range: digest.exactOptional(),
  tokenizer: digest.exactOptional(),
  mixture: mixtureSchema.exactOptional(),
})

const figuresSchema = z.array(z.number()).readonly()
const spikesSchema = z.strictObject({ losses: figuresSchema, gradientNorms: figuresSchema })

const tokenizerSchema = z.strictObject({ path: z.string(), sha256: digest })

/** With `partBytes`, which lets several processes write a file, `sha256` is the hash of the hashes of its parts of that size. */
const fileRecordSchema = z.strictObject({ bytes: count, sha256: digest, partBytes: count.min(1).exactOptional() })

const stateSchema = z.strictObject({
  version: z.literal(1),
  /** Steps taken. */
  step: count,
  /** Length of the run that wrote the checkpoint; the schedule of the learning rate depends on it. */
  totalSteps: count,
  consumedTokens: count,
  /** Position in the stream of samples after the last batch trained on. */
  cursor: cursorSchema,
  model: trainingSchemas().model,
  training: trainingSchemas().training,
  tokenizer: tokenizerSchema.optional(),
  /** Progress of `early_stop`. */
  earlyStop: z.strictObject({ best: z.number(), evaluations: count }).exactOptional(),
  /** Figures that `skip_spikes` compares the next steps with. */
  spikes: spikesSchema.exactOptional(),
  /** Number of steps skipped in a row before the checkpoint; absent if none. */
  skippedInARow: count.exactOptional(),
  /** Id of the token that ends each document of the training data, if known. */
  endOfDocumentId: count.optional(),
  files: z.record(z.string(), fileRecordSchema),
})

export type CheckpointState = z.output<typeof stateSchema>

export interface Checkpoint {
  readonly path: string
  readonly state: CheckpointState
}

/** 'latest': resume from the newest valid checkpoint of the folder, or start when it is empty; else a checkpoint's path. */
export type Resume = 'latest' | { readonly path: string }

/**
 * Saves a checkpoint and removes all but the newest `keep`. In a run of several processes every process calls this; the
 * primary one creates and renames the folder.
 * @param onCopied as in `Engine.saveState`
 * @returns the path of the checkpoint
 * @throws FILE_UNWRITABLE, FILE_EXISTS for a folder under a hidden name that is not a checkpoint
 */
export async function saveCheckpoint(
  folder: string,
  keep: number | null,
  engine: Pick<Engine, 'isPrimary' | 'saveState'>,
  state: Omit<CheckpointState, 'version' | 'files'>,
  onCopied?: () => void,
): Promise<string> {
  const name = `step-${String(state.step).padStart(6, '0')}`
  const path = join(folder, name)
  const partial = partialPathOf(path)
  if (!engine.isPrimary) {
    await engine.saveState(partial, onCopied)
    return path
  }
  await removePartial(path)
  try {
    await makeFolder(partial)
    const saved: SavedFile[] = [...(await engine.saveState(partial, onCopied))]
    if (state.tokenizer !== undefined) {
      const [previous] = await listCheckpoints(folder)
      saved.push(...(await copyTokenizer(partial, state.tokenizer, previous)))
    }
    const files = Object.fromEntries(await Promise.all(saved.map(file => recordOf(partial, file))))
    const names = Object.keys(files)
    await writeFile(join(partial, stateFile), withDigest({ version: 1, ...state, files } satisfies CheckpointState))
    for (const file of [...names, stateFile]) {
      await syncFile(join(partial, file))
    }
    for (const inner of new Set([...names.map(file => dirname(join(partial, file))), partial])) {
      await syncFolder(inner)
    }
    await moveAside(folder, name)
    await rename(partial, path)
    await syncFolder(folder)
    await removeOld(folder, keep, name)
  } catch (error) {
    // Frees space, in case the disk is full; a failure here must not replace the original error.
    await rm(partial, { recursive: true, force: true }).catch(() => {})
    if (error instanceof PenstockError) {
      throw error
    }
    throw new PenstockError(
      'FILE_UNWRITABLE',
      `the checkpoint cannot be written: ${reasonOf(error)}`,
      { file: path },
      error,
    )
  }
  return path
}

/**
 * Removes old checkpoints that a run killed right after its last save could not remove. Keeps them while the newest
 * checkpoint is damaged.
 * @throws FILE_UNWRITABLE
 */
export async function removeSurplus(folder: string, keep: number | null, opened: Checkpoint): Promise<void> {
  const [newest] = await listCheckpoints(folder)
  if (newest !== opened.path) return
  await removeOld(folder, keep, basename(newest))
}

/** Paths of the checkpoints in a folder, newest first; none when the folder does not exist. */
export async function listCheckpoints(folder: string): Promise<readonly string[]> {
  return (await stepsIn(folder)).map(({ name }) => join(folder, name))
}

/**
 * The checkpoint that a run starts from; undefined for a new run.
 * @param folder the run's own checkpoint folder
 * @throws CHECKPOINT_INVALID, FILE_EXISTS when a new run would write among the checkpoints of an older one
 */
export async function findStart(
  resume: Resume | undefined,
  folder: string | undefined,
  onDamaged: (error: PenstockError) => void,
): Promise<Checkpoint | undefined> {
  if (typeof resume === 'object') {
    return openCheckpoint(resume.path)
  }
  if (folder === undefined) {
    return undefined
  }
  if (resume === 'latest') {
    return openLatestCheckpoint(folder, onDamaged)
  }
  if ((await listCheckpoints(folder)).length > 0) {
    const message = 'the folder contains checkpoints of an earlier run: resume it, or choose another folder'
    throw new PenstockError('FILE_EXISTS', message, { file: folder, path: 'checkpoint.folder' })
  }
  return undefined
}

/**
 * Opens the newest valid checkpoint of a folder.
 * @param onDamaged called for each newer checkpoint that is damaged
 * @returns undefined when the folder has no checkpoints
 * @throws CHECKPOINT_INVALID when all of them are damaged
 */
export async function openLatestCheckpoint(
  folder: string,
  onDamaged: (error: PenstockError) => void,
): Promise<Checkpoint | undefined> {
  const paths = await listCheckpoints(folder)
  for (const path of paths) {
    try {
      return await openCheckpoint(path)
    } catch (error) {
      if (!(error instanceof PenstockError)) {
        throw error
      }
      onDamaged(error)
    }
  }
  if (paths.length > 0) {
    throw new PenstockError('CHECKPOINT_INVALID', `all ${paths.length} checkpoints are damaged`, { file: folder })
  }
  return undefined
}

/**
 * Reads a checkpoint's state and verifies the hashes of its files.
 * @throws FILE_MISSING, FILE_UNREADABLE, CHECKPOINT_INVALID
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const state = await readState(join(path, stateFile))
  for (const [name, expected] of Object.entries(state.files)) {
    const file = join(path, name)
    if (!isInside(name)) {
      throw new PenstockError('CHECKPOINT_INVALID', `the checkpoint lists a file outside its folder: '${name}'`, {
        file: path,
      })
    }
    const found = await fingerprint(file, expected.partBytes).catch(error => {
      if (!isMissing(error)) throw toPenstockError(error, 'FILE_UNREADABLE', { file })
      throw new PenstockError('CHECKPOINT_INVALID', `a file of the checkpoint is missing: ${reasonOf(error)}`, { file })
    })
    if (found.bytes !== expected.bytes || found.sha256 !== expected.sha256) {
      const how =
        found.bytes === expected.bytes ? 'its hash differs' : `${found.bytes} bytes, expected ${expected.bytes}`
      throw new PenstockError('CHECKPOINT_INVALID', `a file of the checkpoint is damaged: ${how}`, { file })
    }
  }
  return { path, state }
}

/** Whether a listed file is inside the checkpoint's folder: `model.safetensors`, `optimizer/.metadata`. */
function isInside(name: string): boolean {
  return !name.includes('\\') && name.split('/').every(part => !['', '.', '..'].includes(part))
}

/** The state as JSON, with its digest as the last key. */
function withDigest(state: object): string {
  return `${JSON.stringify({ ...state, digest: sha256(JSON.stringify(state)) }, null, 2)}\n`
}

async function readState(file: string): Promise<CheckpointState> {
  const invalid = (message: string, cause?: unknown) =>
    new PenstockError('CHECKPOINT_INVALID', message, { file }, cause)
  const bytes = await readAll(file).catch(error => {
    if (!isMissing(error)) throw toPenstockError(error, 'FILE_UNREADABLE', { file })
    throw new PenstockError('FILE_MISSING', `no checkpoint: ${reasonOf(error)}`, { file }, error)
  })
  const text = bytes.toString()
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    throw invalid('state.json is not JSON', error)
  }
  const { digest: _, ...rest } = (content ?? {}) as Record<string, unknown>
  if (text !== withDigest(rest)) {
    throw invalid('state.json does not match its digest')
  }
  const parsed = stateSchema.safeParse(rest)
  if (!parsed.success) {
    throw invalid(describeIssue(parsed.error.issues, rest, stateSchema, 'state.json').message, parsed.error)
  }
  return parsed.data
}

async function recordOf(folder: string, file: SavedFile): Promise<readonly [string, FileRecord]> {
  return typeof file === 'string' ? [file, await fingerprint(join(folder, file))] : [file.name, file.record]
}

async function fingerprint(file: string, partBytes?: number): Promise<FileRecord> {
  const { size: bytes } = await stat(file)
  if (partBytes === undefined) return { bytes, sha256: (await hashOf(file)).toString('hex') }
  const whole = createHash('sha256')
  for (let start = 0; start < bytes; start += partBytes) {
    whole.update(await hashOf(file, { start, end: start + partBytes - 1 }))
  }
  return { bytes, sha256: whole.digest('hex'), partBytes }
}

async function hashOf(file: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20, ...range }), hash)
  return hash.digest()
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Empty when the folder does not exist. */
async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') {
      return []
    }
    throw new PenstockError(
      'FILE_UNREADABLE',
      `the folder cannot be listed: ${reasonOf(error)}`,
      { file: folder },
      error,
    )
  })
}

async function stepsIn(folder: string): Promise<readonly { name: string; step: number }[]> {
  return (await namesIn(folder))
    .flatMap(name => {
      const digits = finalName.exec(name)?.[1]
      return digits === undefined ? [] : [{ name, step: Number(digits) }]
    })
    .sort((a, b) => b.step - a.step)
}

/** Frees a final name by renaming its folder, so that a partly removed folder never has a final name. */
async function moveAside(folder: string, name: string): Promise<void> {
  const aside = join(folder, `.${name}.old`)
  await removeHidden(aside)
  await changing(aside, () =>
    rename(join(folder, name), aside).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') {
        throw error
      }
    }),
  )
}

/** Removes what a killed run left of a checkpoint at this path. @throws FILE_EXISTS, FILE_UNWRITABLE */
export async function removePartial(path: string): Promise<void> {
  await removeHidden(partialPathOf(path))
}

function partialPathOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.partial`)
}

/** Removes the folder that a killed run left under a hidden name, if any. @throws FILE_EXISTS if it is not a checkpoint */
async function removeHidden(folder: string): Promise<void> {
  const exists = await lstat(folder).then(
    () => true,
    () => false,
  )
  if (!exists) return
  if (await isCheckpointFolder(folder)) return removeFolder(folder)
  const message = 'this has the name of an unfinished checkpoint and is not one: move it'
  throw new PenstockError('FILE_EXISTS', message, { file: folder })
}

/** Whether a path is a folder, not a link to one, with nothing but parts of a checkpoint. */
async function isCheckpointFolder(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined)
  return stats?.isDirectory() === true && (await namesIn(path)).every(name => ownNames.has(name))
}

/** Removes all but the newest `keep`, never the one just written, and the hidden folders of killed runs. */
async function removeOld(folder: string, keep: number | null, justWritten: string): Promise<void> {
  const steps = await stepsIn(folder)
  for (const { name } of keep === null ? [] : steps.slice(keep)) {
    if (name !== justWritten && (await isCheckpointFolder(join(folder, name)))) {
      await moveAside(folder, name)
    }
  }
  for (const name of await namesIn(folder)) {
    const hidden = join(folder, name)
    if (hiddenName.test(name) && (await isCheckpointFolder(hidden))) {
      await removeFolder(hidden)
    }
  }
}

const isMissing = (error: NodeJS.ErrnoException): boolean => error.code === 'ENOENT' || error.code === 'ENOTDIR'

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
