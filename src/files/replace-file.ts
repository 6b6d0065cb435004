/** Atomic replacement of small files other than outputs of pipelines: definitions, configurations, pictures. */

import { randomUUID } from 'node:crypto'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { toPenstockError } from '../errors.js'
import { changing } from './durable.js'
import { writeWhole } from './output-file.js'
import { readAll } from './read-at.js'

/**
 * Creates or replaces a file atomically. A device or a pipe is not replaced; the content is written to it.
 * @throws FILE_UNWRITABLE, FILE_LOCKED, FILE_EXISTS for a file of somebody else under a temporary name
 */
export async function writeOver(path: string, content: string | Uint8Array): Promise<void> {
  const stats = await stat(path).catch(() => undefined)
  if (stats !== undefined && !stats.isFile()) return changing(path, () => writeFile(path, content))
  await writeWhole(path, 'override', file => file.write(Buffer.from(content)))
}

/** Copies a file, replacing the target as `writeOver` does. @throws FILE_UNREADABLE, FILE_UNWRITABLE */
export async function copyOver(from: string, to: string): Promise<void> {
  const content = await readAll(from).catch(error => {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: from })
  })
  await writeOver(to, content)
}

/** Replaces a file atomically, but not durably. The caller names the file in errors. */
export function replaceFileSync(path: string, content: string): void {
  const part = `${path}.${randomUUID().slice(0, 8)}.part`
  try {
    writeFileSync(part, content, { flag: 'wx' })
    renameSync(part, path)
  } catch (error) {
    rmSync(part, { force: true })
    throw error
  }
}
