/** Makes files and their names survive a power cut: a rename is safe only when the folder was flushed after it. */
import { open } from 'node:fs/promises'

export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Windows cannot open a folder, and keeps its names by itself. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform !== 'win32') {
    await syncFile(folder)
  }
}
