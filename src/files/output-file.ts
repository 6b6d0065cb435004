/**
 * Atomic output files: written as `<name>.part` in the same folder, synced, renamed, and the folder synced, in this order.
 * A lock file prevents two runs from writing the same output. In a run with a journal, an output resumes where a killed
 * run stopped and is published together with the run's other outputs; without a journal, an old `.part` is overwritten.
 */
import { rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'
import type { Mark, OutputProgress } from '../formats/batches.js'
import { AppendFile } from './append-file.js'
import { removeFile, syncFolder } from './durable.js'
import { lockOutput, unlockOutput } from './output-lock.js'

/** Policy for an existing output: fail, keep it and write nothing, or replace it once the new one is complete. */
export const ifExistsOption = z
  .enum(['error', 'skip', 'override'])
  .default('error')
  .describe(
    'what to do when the output exists: error, skip (keep it) or override (replace it once the new one is complete)',
  )
export type IfExists = z.output<typeof ifExistsOption>

/** Permission to write an output, with the actions that publish or discard it. */
export interface OutputReservation {
  /** Progress of the killed run that is resumed. */
  readonly resume?: OutputProgress | undefined
  /** Called when all bytes are durable under the temporary name. */
  commit(): Promise<void>
  abort(): Promise<void>
}

/** Reserves the outputs of a run. */
export interface OutputReservations {
  /** @returns undefined when the output exists and must be kept */
  reserve(path: string, ifExists: IfExists): Promise<OutputReservation | undefined>
}

/** Temporary name of an output while it is written. */
export const partPathOf = (path: string): string => `${path}.part`
/** Name of the second temporary file that some sinks need meanwhile. */
export const scratchPathOf = (path: string): string => `${path}.scratch.part`
/** Name of the journal of the run that writes an output. */
export const journalPathOf = (path: string): string => `${path}.journal`

/**
 * Opens an output; returns undefined when it exists and must be kept.
 * @param reservations reservations of a run with a journal
 */
export async function openOutput(
  path: string,
  ifExists: IfExists,
  reservations: OutputReservations = standalone,
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
 * Opens an output, runs `write` and publishes the file; removes it when `write` throws. Does nothing when the output exists
 * and must be kept.
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
   * Bytes that will very likely follow the written ones in any case. They are stored at the end of the file for a
   * resumed run, which costs less than storing them in the journal.
   */
  readonly tail?: Uint8Array
}

/** Owns the handle of one output until `commit` or `abandon`. */
export class OutputFile {
  readonly path: string
  /** State of the sink at the mark from which this run resumes; undefined when it starts over. */
  readonly resumedState: unknown
  private readonly reservation: OutputReservation
  private readonly part: AppendFile
  private scratchFile: AppendFile | undefined
  /** The last mark, while it is synced and journalled; its failure is reported at the next mark or at the end. */
  private pendingMark: Promise<void> = Promise.resolve()
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

  /** Appends `bytes`; the caller may reuse the array once the promise has resolved. */
  write(bytes: Uint8Array): Promise<void> {
    return this.part.write(bytes)
  }

  /** Overwrites bytes written earlier, such as a header whose values are known only at the end. */
  patch(bytes: Uint8Array, position: number): Promise<void> {
    return this.part.patch(bytes, position)
  }

  /** Tail of the file at the mark from which this run resumes. @throws FILE_UNREADABLE */
  async resumedTail(): Promise<Uint8Array> {
    const tail = new Uint8Array(this.reservation.resume?.tailBytes ?? 0)
    await this.part.read(tail, this.part.size)
    return tail
  }

  /** A second temporary file with the same lifetime as the `.part`, resumed with it. */
  async scratch(): Promise<AppendFile> {
    this.scratchFile ??= await AppendFile.openPart(
      scratchPathOf(this.path),
      this.path,
      this.reservation.resume?.scratchBytes,
    )
    return this.scratchFile
  }

  /**
   * Flushes everything before a mark and starts to sync it. Waits only for the sync of the previous mark, which bounds the
   * work that a killed run has to redo.
   * @param stateOf returns what the sink needs to resume here
   */
  async mark(mark: Mark | undefined, stateOf: () => SinkState = () => ({})): Promise<void> {
    if (mark === undefined) return
    await this.pendingMark
    const files = this.scratchFile === undefined ? [this.part] : [this.part, this.scratchFile]
    const { state, tail } = stateOf()
    await this.part.flush(tail)
    await this.scratchFile?.flush()
    const progress = {
      bytes: this.part.size,
      tailBytes: tail?.byteLength ?? 0,
      scratchBytes: this.scratchFile?.size ?? 0,
      state,
    }
    this.pendingMark = Promise.all(files.map(file => file.sync())).then(() => mark.reached(this.path, progress))
    this.pendingMark.catch(() => {})
  }

  /** Makes the file durable and publishes it; in a run with a journal all outputs are published at the end. */
  async commit(): Promise<void> {
    await this.pendingMark
    await this.part.flush()
    await this.part.cutTail()
    await this.part.sync()
    await this.close()
    await this.reservation.commit()
    this.isClosed = true
  }

  /** Discards the file, except for what a run can resume from; does nothing after `commit`. */
  async abandon(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    await this.pendingMark.catch(() => {})
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

/** Whether an output exists and must be kept. @throws FILE_EXISTS; FILE_UNWRITABLE for anything but a regular file */
export async function isToBeKept(path: string, ifExists: IfExists): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) return false
  if (ifExists === 'skip') return true
  if (ifExists === 'override') {
    if (stats.isFile()) return false
    // A rename would replace a device such as /dev/null.
    throw new PenstockError('FILE_UNWRITABLE', 'expected a regular file, found a device, pipe or folder', {
      file: path,
    })
  }
  throw new PenstockError(
    'FILE_EXISTS',
    'the output exists; set if_exists to override or skip, or choose another name',
    {
      file: path,
    },
  )
}

/** Reservations of outputs that do not belong to a run with a journal. */
const standalone: OutputReservations = {
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

/** Renames complete outputs to their final names, in this order, durably. @throws FILE_UNWRITABLE */
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

/**
 * Removes the temporary files of outputs. The first output goes last, because its journal lists the others.
 * @throws FILE_UNWRITABLE
 */
export async function removeTemporary(paths: readonly string[]): Promise<void> {
  for (const path of paths.toReversed()) {
    const journal = journalPathOf(path)
    for (const file of [partPathOf(path), scratchPathOf(path), partPathOf(journal), journal]) {
      await removeFile(file)
    }
    await unlockOutput(path)
  }
}

/** Removes journals durably: before a `.part` is overwritten, no journal may refer to its old content. */
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
