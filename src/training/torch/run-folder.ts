/**
 * Temporary folder of a run of the torch engine: socket and logs. A killed run cannot remove its folder, so
 * each folder names its process, and the next run removes the folders of processes that no longer exist.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isRunning, ownIdentity, processSchema } from '../../files/process-identity.js'

const prefix = 'penstock-torch-'
const ownerFile = 'owner.json'

export async function makeRunFolder(): Promise<string> {
  await removeStaleFolders()
  const folder = await mkdtemp(join(tmpdir(), prefix))
  await writeFile(join(folder, ownerFile), JSON.stringify(await ownIdentity()))
  return folder
}

/** A folder that cannot be read or removed, such as that of another user, is left alone. */
async function removeStaleFolders(): Promise<void> {
  const names = await readdir(tmpdir()).catch(() => [])
  for (const name of names.filter(name => name.startsWith(prefix))) {
    const folder = join(tmpdir(), name)
    if (await isStale(folder)) await rm(folder, { recursive: true, force: true }).catch(() => {})
  }
}

/** Whether the process of a folder has ended for certain. */
async function isStale(folder: string): Promise<boolean> {
  try {
    const owner = processSchema.parse(JSON.parse(await readFile(join(folder, ownerFile), 'utf8')))
    return (await isRunning(owner)) === 'no'
  } catch {
    return false
  }
}
