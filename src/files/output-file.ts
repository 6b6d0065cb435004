/**
 * Atomic output files: written as `<name>.part` in the same folder, synced, renamed, and the folder synced, in this order.
 * A lock file prevents two runs from writing the same output. In a run with a journal, an output resumes where a killed
 * run stopped and is published together with the run's other outputs; without a journal, an old `.part` is overwritten.
 * An object in a store is written to a local staging folder in the same way, and uploaded instead of renamed.
 */
import type { Stats } from 'node:fs'
import { lstat, rename, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'
import type { Mark, OutputProgress } from '../formats/batches.js'
import { AppendFile, type ReservedSpace } from './append-file.js'
import { removeFile, syncFolder } from './durable.js'
import { type FileProof, provenInode } from './file-proof.js'
import { adoptJournal } from './journal/journal-file.js'
import { OutputLock } from './output-lock.js'
import { isRemote } from './remote/remote-name.js'
import { objectNameOf, uploadRecordOf } from './remote/staging.js'
import { journalPathOf, lockPathOf, MAX_NAME_BYTES, outputTargetOf, partPathOf, scratchPathOf } from './side-files.js'
import { removeTemporary } from './temporary-file.js'

/** Policy for an existing output: fail, keep it and write nothing, or replace it once the new one is complete. */
export const ifExistsValues = z.enum(['error', 'skip', 'override'])
export const ifExistsOption = ifExistsValues
  .default('error')
  .describe(
    'what to do when the output exists: error, skip (keep it) or override (replace it once the new one is complete)',
  )
export type IfExists = z.output<typeof ifExistsValues>

/** Permission to write an output, with the actions that publish or discard it. */
export interface OutputReservation {
  readonly lock: OutputLock
  /** Progress of the killed run that is resumed. */
  readonly resume?: OutputProgress | undefined
  /** Called when all bytes are durable under the temporary name. */
  commit(proof: FileProof): Promise<void>
  abort(): Promise<void>
}

/** Reserves the outputs of a run. */
export interface OutputReservations {
  /** @returns undefined when the output exists and must be kept */
  reserve(path: string, ifExists: IfExists): Promise<OutputReservation | undefined>
}

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
  /** May be a promise, which resolves once other threads have written what precedes the mark. */
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
    const { lock, resume } = reservation
    const part = partPathOf(lock.output)
    if (resume !== undefined) {
      const { tailBytes } = resume
      const { inode, bytes: keptBytes } = resume.part
      return new OutputFile(path, reservation, await AppendFile.resume(lock, part, { inode, keptBytes, tailBytes }))
    }
    const replaced = await statOf(lock.output)
    // Readable by nobody else until it gets the permissions of the file that it replaces.
    const file = await AppendFile.create(lock, part, replaced === undefined ? undefined : 0o600)
    return new OutputFile(path, reservation, file)
  }

  /** Bytes appended so far. */
  get size(): number {
    return this.part.size
  }

  /** Appends `bytes`; the caller may reuse the array once the promise has resolved. */
  write(bytes: Uint8Array): Promise<void> {
    return this.part.write(bytes)
  }

  /** Leaves space for bytes that other threads write; they must have done so when the state of the next mark resolves. */
  reserve(byteLength: number): Promise<ReservedSpace> {
    return this.part.reserve(byteLength)
  }

  /** @throws FILE_LOCKED when another process took the output over */
  ensureHeld(): Promise<void> {
    return this.reservation.lock.ensureHeld()
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
    if (this.scratchFile !== undefined) return this.scratchFile
    const { lock, resume } = this.reservation
    const path = scratchPathOf(lock.output)
    this.scratchFile =
      resume?.scratch === undefined
        ? await AppendFile.create(lock, path)
        : await AppendFile.resume(lock, path, { inode: resume.scratch.inode, keptBytes: resume.scratch.bytes })
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
    const { state, tail } = stateOf()
    const settled = Promise.resolve(state)
    settled.catch(() => {})
    await this.part.flush(tail)
    await this.scratchFile?.flush()
    this.pendingMark = this.record(mark, settled, tail?.byteLength ?? 0, this.part.size, this.scratchFile?.size)
    this.pendingMark.catch(() => {})
  }

  private async record(
    mark: Mark,
    settled: Promise<unknown>,
    tailBytes: number,
    partBytes: number,
    scratchBytes: number | undefined,
  ): Promise<void> {
    const state = await settled
    const part = await this.part.proof(partBytes)
    const scratch = await this.scratchFile?.proof(scratchBytes)
    await Promise.all([this.part.sync(), this.scratchFile?.sync()])
    await mark.reached(this.reservation.lock.output, { part, tailBytes, scratch, state })
  }

  /** Makes the file durable and publishes it; in a run with a journal all outputs are published at the end. */
  async commit(): Promise<void> {
    await this.pendingMark
    await this.part.flush()
    await this.part.cutTail()
    const replaced = await statOf(this.reservation.lock.output)
    if (replaced !== undefined) await this.part.copyPermissions(replaced)
    await this.part.sync()
    const proof = await this.part.proof()
    await this.close()
    await this.reservation.commit(proof)
    this.isClosed = true
  }

  /** Discards the file, except for what a run can resume from; does nothing after `commit`. */
  async abandon(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    await this.pendingMark.catch(() => {})
    try {
      await this.close()
    } finally {
      await this.reservation.abort()
    }
  }

  private async close(): Promise<void> {
    if (!this.isOpen) return
    this.isOpen = false
    try {
      await this.part.close()
    } finally {
      await this.scratchFile?.close()
    }
  }
}

/**
 * Whether an output exists and must be kept.
 * @param name the path that the user gave, for messages
 * @throws FILE_EXISTS; FILE_UNWRITABLE for anything but a regular file and for a name that cannot be written
 */
export async function isToBeKept(target: string, ifExists: IfExists, name = target): Promise<boolean> {
  const object = objectNameOf(target)
  const stats = object === undefined ? await statOf(target) : await statOfObject(object)
  if (stats === undefined) return false
  if (ifExists === 'skip') return true
  const where = { file: object ?? name }
  if (ifExists === 'override') {
    if (stats.isFile()) return false
    // A rename would replace a device such as /dev/null.
    throw new PenstockError('FILE_UNWRITABLE', 'expected a regular file, found a device, pipe or folder', where)
  }
  const message = 'the output exists; set if_exists to override or skip, or choose another name'
  throw new PenstockError('FILE_EXISTS', message, where)
}

/** Whether something has the name of an output. @throws FILE_UNREADABLE for a store that does not answer */
export async function outputExists(path: string): Promise<boolean> {
  return (await (isRemote(path) ? statOfObject(path) : stat(path).catch(() => undefined))) !== undefined
}

/** Whether an output exists and no killed run is left that has to finish: it may still have files to rename. */
export async function isPublished(path: string): Promise<boolean> {
  return (await outputExists(path)) && (await statOf(journalPathOf(await outputTargetOf(path)))) === undefined
}

/** Reservations of outputs that do not belong to a run with a journal. */
const standalone: OutputReservations = {
  async reserve(path, ifExists) {
    const target = await outputTargetOf(path)
    const isFree = (await statOf(lockPathOf(target))) === undefined
    if (isFree && (await isToBeKept(target, ifExists, path))) return undefined
    const lock = await OutputLock.acquire(target)
    try {
      if (await isToBeKept(target, ifExists, path)) {
        await discard([lock])
        return undefined
      }
      await removeJournals([lock])
    } catch (error) {
      await discard([lock]).catch(() => {})
      throw error
    }
    return {
      lock,
      commit: async proof => {
        await publish([{ lock, proof, ifExists }])
        await discard([lock])
      },
      abort: () => discard([lock]),
    }
  },
}

/** A complete output under its temporary name. */
export interface CompleteOutput {
  readonly lock: OutputLock
  readonly proof: FileProof
  readonly ifExists: IfExists
}

/**
 * Renames complete outputs to their final names, in this order, durably. Those in object stores are uploaded before, in the
 * opposite order: only the writer that was first with the data also writes their manifest.
 * @throws FILE_EXISTS for an output that was created meanwhile, FILE_UNWRITABLE, FILE_LOCKED; before any is renamed
 */
export async function publish(outputs: readonly CompleteOutput[]): Promise<void> {
  for (const { lock, proof, ifExists } of outputs) {
    await lock.verify()
    const part = partPathOf(lock.output)
    // A second name, such as a backup's hard link, does not matter any more.
    const stats = await lstat(part).catch(() => undefined)
    if (stats?.ino !== proof.inode && (await provenInode(part, proof)) === undefined) {
      throw new PenstockError('FILE_CHANGED', 'the temporary file was removed or replaced', { file: part })
    }
    await isToBeKept(lock.output, ifExists === 'skip' ? 'error' : ifExists)
  }
  for (const { lock, ifExists } of outputs.toReversed()) {
    const object = objectNameOf(lock.output)
    if (object !== undefined) await publishObject(lock, object, ifExists)
  }
  const targets = outputs.map(({ lock }) => lock.output).filter(target => objectNameOf(target) === undefined)
  for (const target of targets) {
    try {
      await rename(partPathOf(target), target)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: target })
    }
  }
  await syncFoldersOf(targets)
}

async function publishObject(lock: OutputLock, object: string, ifExists: IfExists): Promise<void> {
  const { uploadFile } = await import('./remote/upload.js')
  await lock.ensureHeld()
  await uploadFile(partPathOf(lock.output), object, ifExists === 'override' ? 'override' : 'error')
}

async function statOfObject(name: string): Promise<Pick<Stats, 'isFile'> | undefined> {
  const { statObject } = await import('./remote/s3-store.js')
  return (await statObject(name)) && { isFile: () => true }
}

/**
 * Removes the temporary files of outputs and unlocks them. The first output goes last, because its journal lists the
 * others. After the loss of a lock nothing is removed: the files belong to the new owner.
 * @throws FILE_UNWRITABLE
 */
export async function discard(locks: readonly OutputLock[]): Promise<void> {
  const failures: unknown[] = []
  for (const lock of locks.toReversed()) {
    try {
      // After a failure the journal of the first output stays, so that the next run can finish.
      if (failures.length > 0) continue
      const journal = journalPathOf(lock.output)
      for (const file of [partPathOf(lock.output), scratchPathOf(lock.output), partPathOf(journal), journal]) {
        await removeTemporary(lock, file, 'keep')
      }
      if (objectNameOf(lock.output) !== undefined) await removeFile(uploadRecordOf(partPathOf(lock.output)))
    } catch (error) {
      failures.push(error)
    } finally {
      await lock.release().catch((error: unknown) => failures.push(error))
    }
  }
  if (failures.length > 0) throw failures[0]
}

/** Removes journals durably: before a `.part` is created, no journal may refer to an older one. @throws FILE_EXISTS */
export async function removeJournals(locks: readonly OutputLock[]): Promise<void> {
  const removed: string[] = []
  for (const lock of locks) {
    const journal = journalPathOf(lock.output)
    await adoptJournal(lock)
    if (await removeTemporary(lock, journal, 'refuse')) removed.push(journal)
  }
  if (removed.length > 0) await syncFoldersOf(removed)
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

/** Undefined for a missing file. @throws FILE_UNWRITABLE for a name that no file can have, or that cannot be looked up */
async function statOf(path: string): Promise<Stats | undefined> {
  if (Buffer.byteLength(basename(path)) > MAX_NAME_BYTES) {
    throw new PenstockError('FILE_UNWRITABLE', `the file name is longer than ${MAX_NAME_BYTES} bytes`, { file: path })
  }
  return stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  })
}
