/**
 * A file that appears under its name whole or not at all: written as `<name>.part` in the same folder, flushed to disk,
 * renamed, and the folder flushed, in this order. A lock beside it keeps two runs from writing the same output at once.
 * An output of a run with a journal goes on from where a killed run had come, and appears together with the run's other
 * outputs; alone, a left `.part` is overwritten.
 */
import { rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'
import type { Mark, OutputProgress } from '../formats/batches.js'
import { AppendFile } from './append-file.js'
import { removeFile, syncFolder } from './durable.js'
import { lockOutput, unlockOutput } from './output-lock.js'

/** What to do when an output exists: refuse, leave it and write nothing, or replace it once the new one is whole. */
export const ifExistsOption = z
  .enum(['error', 'skip', 'override'])
  .default('error')
  .describe('what to do when the output exists: error, skip (keep it) or override (replaced when the new one is whole)')
export type IfExists = z.output<typeof ifExistsOption>

/** The right to write an output, and what becomes of the file when it is whole or given up. */
export interface OutputReservation {
  /** How far a killed run had come, which this one goes on from. */
  readonly resume?: OutputProgress | undefined
  /** The bytes are all there and durable under the temporary name. */
  commit(): Promise<void>
  abort(): Promise<void>
}

/** Who hands out reservations for the outputs of a run. */
export interface OutputReservations {
  /** @returns undefined when the output exists and is to be kept */
  reserve(path: string, ifExists: IfExists): Promise<OutputReservation | undefined>
}

/** Name under which an output's bytes stand until it is whole. */
export const partPathOf = (path: string): string => `${path}.part`
/** Name of what an output's sink needs beside it until then. */
export const scratchPathOf = (path: string): string => `${path}.scratch.part`
/** Name of the journal of the run that an output's temporary files are of. */
export const journalPathOf = (path: string): string => `${path}.journal`

/**
 * Opens an output, or answers undefined when it exists and is to be kept.
 * @param reservations those of a run with a journal
 */
export async function openOutput(
  path: string,
  ifExists: IfExists,
  reservations: OutputReservations = alone,
): Promise<OutputFile | undefined> {
  const reservation = await reservations.reserve(path, ifExists)
  if (reservation === undefined) return undefined
  try {
    return await OutputFile.open(path, reservation)
  } catch (error) {
    await reservation.abort()
    throw error
  }
}

/**
 * Opens an output for `write` and makes it durable when that is done; leaves nothing when it throws, and what is there
 * when that is to be kept.
 */
export async function writeWhole(
  path: string,
  ifExists: IfExists,
  write: (file: OutputFile) => Promise<void>,
  reservations?: OutputReservations,
): Promise<void> {
  const file = await openOutput(path, ifExists, reservations)
  if (file === undefined) return
  try {
    await write(file)
    await file.commit()
  } finally {
    await file.abandon()
  }
}

export interface SinkState {
  readonly state?: unknown
  /**
   * Bytes that will stand behind what is written whatever comes next, or nearly so: they are put there for the next run,
   * where they cost less than in the journal.
   */
  readonly tail?: Uint8Array
}

/** Owns the handle of one output until `commit` or `abandon`. */
export class OutputFile {
  readonly path: string
  /** What its sink noted at the mark that this run goes on from; undefined where it starts anew. */
  readonly resumedState: unknown
  private readonly reservation: OutputReservation
  private readonly part: AppendFile
  private scratchFile: AppendFile | undefined
  /** The last mark on its way to the journal: a failure of it is met at the next one, or at the end. */
  private underWay: Promise<void> = Promise.resolve()
  private isOpen = true
  private isClosed = false

  private constructor(path: string, reservation: OutputReservation, part: AppendFile) {
    this.path = path
    this.reservation = reservation
    this.part = part
    this.resumedState = reservation.resume?.state
  }

  static async open(path: string, reservation: OutputReservation): Promise<OutputFile> {
    return new OutputFile(path, reservation, await openPart(path, reservation.resume))
  }

  /** Bytes appended so far. */
  get size(): number {
    return this.part.size
  }

  /** Appends; the caller may change `bytes` after the promise resolved. */
  write(bytes: Uint8Array): Promise<void> {
    return this.part.write(bytes)
  }

  /** Overwrites what was written before at `position`, such as a header whose values are known only at the end. */
  patch(bytes: Uint8Array, position: number): Promise<void> {
    return this.part.patch(bytes, position)
  }

  /** The tail at the mark that this run goes on from. @throws FILE_UNREADABLE */
  async resumedTail(): Promise<Uint8Array> {
    const tail = new Uint8Array(this.reservation.resume?.tailBytes ?? 0)
    await this.part.read(tail, this.part.size)
    return tail
  }

  /** A second file that lives as long as the `.part` and goes on with it. */
  async scratch(): Promise<AppendFile> {
    this.scratchFile ??= await AppendFile.openPart(
      scratchPathOf(this.path),
      this.path,
      this.reservation.resume?.scratchBytes,
    )
    return this.scratchFile
  }

  /**
   * Reports that everything before a mark is written. The disk is not waited for, except for what the last mark asked
   * of it: a killed run never has more than that to do again.
   * @param from asks the sink what it must know to go on from here
   */
  async mark(mark: Mark | undefined, from: () => SinkState = () => ({})): Promise<void> {
    if (mark === undefined) return
    await this.underWay
    const files = this.scratchFile === undefined ? [this.part] : [this.part, this.scratchFile]
    const { state, tail } = from()
    await this.part.flush(tail)
    await this.scratchFile?.flush()
    const progress = {
      bytes: this.part.size,
      tailBytes: tail?.byteLength ?? 0,
      scratchBytes: this.scratchFile?.size ?? 0,
      state,
    }
    this.underWay = Promise.all(files.map(file => file.sync())).then(() => mark.reached(this.path, progress))
    this.underWay.catch(() => {})
  }

  /** Makes the file durable under its final name, or, of several outputs of a run, ready for it. */
  async commit(): Promise<void> {
    await this.underWay
    await this.part.flush()
    await this.part.cutTail()
    await this.part.sync()
    await this.close()
    await this.reservation.commit()
    this.isClosed = true
  }

  /** Leaves nothing behind but what a run may go on from; harmless after `commit`. */
  async abandon(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    await this.underWay.catch(() => {})
    await this.close()
    await this.reservation.abort()
  }

  private async close(): Promise<void> {
    if (!this.isOpen) return
    this.isOpen = false
    await this.part.close()
    await this.scratchFile?.close()
  }
}

const openPart = (path: string, { bytes = 0, tailBytes = 0 }: Partial<OutputProgress> = {}): Promise<AppendFile> =>
  AppendFile.openPart(partPathOf(path), path, bytes, tailBytes)

/** Whether an output exists and is to be kept. @throws FILE_EXISTS; FILE_UNWRITABLE for what no file can take the place of */
export async function isToBeKept(path: string, ifExists: IfExists): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) return false
  if (ifExists === 'skip') return true
  if (ifExists === 'override') {
    if (stats.isFile()) return false
    // A rename would put the output in the place of a device such as /dev/null.
    throw new PenstockError('FILE_UNWRITABLE', 'a device, a pipe or a folder, where a file is expected', { file: path })
  }
  throw new PenstockError('FILE_EXISTS', 'the output exists; choose if_exists: override or skip, or another name', {
    file: path,
  })
}

/** The reservation of an output that no journal knows. */
const alone: OutputReservations = {
  async reserve(path, ifExists) {
    if (await isToBeKept(path, ifExists)) return undefined
    await lockOutput(path)
    await forgetJournals([path])
    return {
      commit: async () => {
        await publish([path])
        await removeTemporary([path])
      },
      abort: () => removeTemporary([path]),
    }
  },
}

/** Gives outputs that are whole their names, in this order, for good. @throws FILE_UNWRITABLE */
export async function publish(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    try {
      await rename(partPathOf(path), path)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
    }
  }
  await syncFoldersOf(paths)
}

/** Removes what stands beside outputs until they are whole: of the first, whose journal tells of the others, last. @throws FILE_UNWRITABLE */
export async function removeTemporary(paths: readonly string[]): Promise<void> {
  for (const path of paths.toReversed()) {
    const journal = journalPathOf(path)
    for (const file of [partPathOf(path), scratchPathOf(path), partPathOf(journal), journal]) {
      await removeFile(file)
    }
    await unlockOutput(path)
  }
}

/** Before a `.part` is written anew no journal may know the old one, not even after a power cut. */
export async function forgetJournals(paths: readonly string[]): Promise<void> {
  const known: string[] = []
  for (const path of paths) if (await exists(journalPathOf(path))) known.push(path)
  if (known.length === 0) return
  for (const path of known) await removeFile(journalPathOf(path))
  await syncFoldersOf(known)
}

/** @throws FILE_UNWRITABLE */
export async function syncFoldersOf(paths: readonly string[]): Promise<void> {
  for (const folder of new Set(paths.map(path => dirname(path)))) {
    try {
      await syncFolder(folder)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: folder })
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
