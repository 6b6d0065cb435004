/**
 * Names of the files that accompany an output, in its folder: temporary files, lock, journal and manifest. A name longer
 * than file systems allow is shortened; a hash of the output's name then keeps it unique.
 */
import { createHash } from 'node:crypto'
import { readlink, realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { isRemote } from './remote/remote-name.js'
import { stagingPathOf } from './remote/staging.js'

/** Limit of ext4, XFS, btrfs, APFS and NTFS. */
export const MAX_NAME_BYTES = 255
/** Links followed in a row, as Linux limits them. */
export const MAX_LINKS = 40

/** Temporary name of an output while it is written. */
export const partPathOf = (path: string): string => sidePath(path, '.part')
/** Name of the second temporary file that some sinks need meanwhile. */
export const scratchPathOf = (path: string): string => sidePath(path, '.scratch.part')
/** Name of the journal of the run that writes an output. */
export const journalPathOf = (path: string): string => sidePath(path, '.journal')
export const lockPathOf = (path: string): string => sidePath(path, '.lock')
export const manifestPathOf = (path: string): string => sidePath(path, '.manifest')

/** All files that a run may create for an output. */
export function sideFilesOf(path: string): string[] {
  const [journal, manifest] = [journalPathOf(path), manifestPathOf(path)]
  const own = [partPathOf(path), scratchPathOf(path), journal, partPathOf(journal), lockPathOf(path)]
  return [...own, manifest, partPathOf(manifest), lockPathOf(manifest)]
}

function sidePath(path: string, suffix: string): string {
  const name = basename(path)
  if (Buffer.byteLength(name + suffix) <= MAX_NAME_BYTES) return path + suffix
  const end = `~${createHash('sha256').update(name).digest('hex').slice(0, 8)}${suffix}`
  let start = name
  while (Buffer.byteLength(start + end) > MAX_NAME_BYTES) start = [...start].slice(0, -1).join('')
  return join(dirname(path), start + end)
}

/**
 * The file that an output path refers to: for a symbolic link its target, which need not exist; for an object in a store
 * the file that is uploaded in the end.
 * @throws ARGUMENT_INVALID for a name of an object that cannot be written
 */
export async function outputTargetOf(path: string): Promise<string> {
  if (isRemote(path)) return stagingPathOf(path)
  let target = path
  for (let links = 0; links < MAX_LINKS; links++) {
    const next = await readlink(target).catch(() => undefined)
    if (next === undefined) return target
    const folder = await realpath(dirname(target)).catch(() => dirname(target))
    target = resolve(folder, next)
  }
  return path
}
