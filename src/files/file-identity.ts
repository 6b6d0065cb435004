/** Identity of files, to compare paths that may lead to the same file. */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'

/** Device and inode of a file, so that two paths to one file compare equal; the absolute path if it does not exist. */
export function fileIdentity(file: string): string {
  try {
    const { dev, ino } = statSync(file)
    return `${dev}:${ino}`
  } catch {
    return resolve(file)
  }
}
