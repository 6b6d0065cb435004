/**
 * Checkpoints in an object store: written to a folder of this machine like any other, then uploaded as a whole. `state.json`
 * goes last, and is removed first, so a checkpoint with it is complete.
 */
import { open, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PenstockError, toPenstockError } from '../errors.js'
import { changing, makeFolder } from '../files/durable.js'
import { isRemote } from '../files/remote/remote-name.js'
import type { RemoteEntry } from '../files/remote/remote-store.js'
import { stagingPathOf, uploadRecordOf } from '../files/remote/staging.js'
import { openAnySource } from '../files/source-file.js'
import { listCheckpoints, openCheckpoint } from './checkpoint.js'

const STATE = 'state.json'
const COPY_BYTES = 4 << 20

/** Where the checkpoints of a folder are written: the folder itself, or its staging folder. @throws ARGUMENT_INVALID */
export async function localFolderOf(folder: string): Promise<string> {
  return isRemote(folder) ? stagingPathOf(withoutSlash(folder)) : folder
}

/**
 * The local folder of checkpoints, after the newest one in the store was downloaded if it is not there.
 * @param folder a folder of checkpoints, or one checkpoint
 * @throws FILE_UNREADABLE, FILE_MISSING for a missing bucket
 */
export async function fetchCheckpoints(folder: string): Promise<string> {
  const local = await localFolderOf(folder)
  if (!isRemote(folder)) return local
  const { listObjects } = await import('../files/remote/s3-store.js')
  const found = await listObjects(`${withoutSlash(folder)}/`)
  const newest = stepsIn(found)[0]
  if (newest === undefined) return local
  const path = join(local, relativeTo(folder, newest))
  const isHere = (await listCheckpoints(dirname(path))).includes(path)
  if (!isHere)
    await download(
      found.filter(({ name }) => name.startsWith(`${newest}/`)),
      newest,
      path,
    )
  return local
}

/**
 * Uploads a checkpoint if its folder is in a store, and removes all but the newest `keep` there.
 * @returns the name of the checkpoint
 * @throws FILE_UNWRITABLE
 */
export async function storeCheckpoint(folder: string, keep: number | null, path: string): Promise<string> {
  if (!isRemote(folder)) return path
  const [{ uploadFile }, { listObjects, removeObject }] = await Promise.all([
    import('../files/remote/upload.js'),
    import('../files/remote/s3-store.js'),
  ])
  const name = `${withoutSlash(folder)}/${basename(path)}`
  await removeObject(`${name}/${STATE}`)
  const { state } = await openCheckpoint(path)
  for (const file of [...Object.keys(state.files), STATE]) {
    await uploadFile(join(path, file), `${name}/${file}`, 'override')
    await changing(path, () => rm(uploadRecordOf(join(path, file)), { force: true }))
  }
  const found = await listObjects(`${withoutSlash(folder)}/`)
  for (const old of keep === null ? [] : stepsIn(found).slice(keep)) {
    if (old === name) continue
    await removeObject(`${old}/${STATE}`)
    for (const entry of found) if (entry.name.startsWith(`${old}/`)) await removeObject(entry.name)
  }
  return name
}

const withoutSlash = (name: string): string => name.replace(/\/+$/, '')
const relativeTo = (folder: string, name: string): string => name.slice(withoutSlash(folder).length)

/** Names of the complete checkpoints, newest first. */
function stepsIn(entries: readonly RemoteEntry[]): string[] {
  const complete = entries.flatMap(({ name }) => (/\/step-\d{6,}\/state\.json$/.test(name) ? [dirname(name)] : []))
  return complete.sort((a, b) => stepOf(b) - stepOf(a))
}

const stepOf = (name: string): number => Number(/step-(\d+)$/.exec(name)![1])

/** The hashes in its state are checked when the checkpoint is opened. */
async function download(entries: readonly RemoteEntry[], from: string, to: string): Promise<void> {
  const inOrder = entries.toSorted((a, b) => Number(a.name.endsWith(STATE)) - Number(b.name.endsWith(STATE)))
  for (const entry of inOrder) {
    const path = join(to, entry.name.slice(from.length))
    if (entry.name.split('/').includes('..')) {
      throw new PenstockError('CHECKPOINT_INVALID', 'an object lies outside of the checkpoint', { file: entry.name })
    }
    await makeFolder(dirname(path))
    await copy(entry, path)
  }
}

async function copy(entry: RemoteEntry, path: string): Promise<void> {
  const source = await openAnySource(entry.name, undefined, entry)
  try {
    const target = await open(path, 'w')
    try {
      const chunk = new Uint8Array(COPY_BYTES)
      for (let position = 0; position < entry.size; ) {
        const { bytesRead } = await source.handle.read(chunk, 0, chunk.length, position)
        await target.writeFile(chunk.subarray(0, bytesRead))
        position += bytesRead
      }
    } finally {
      await target.close()
    }
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  } finally {
    await source.handle.close()
  }
}
