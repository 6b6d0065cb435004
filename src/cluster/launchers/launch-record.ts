/** Record of a launch, `launch.json` in the folder of the plan: which scheduler runs the shards, and as which jobs. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { changing } from '../../files/durable.js'
import { replaceFileSync } from '../../files/replace-file.js'

const launchSchema = z.discriminatedUnion('scheduler', [
  z.object({ scheduler: z.literal('slurm'), arrays: z.array(z.string()), merge: z.string() }),
  z.object({ scheduler: z.literal('ray'), address: z.string(), job: z.string() }),
  z.object({ scheduler: z.literal('kubernetes'), jobs: z.array(z.string()), namespace: z.string().optional() }),
])
export type LaunchRecord = z.output<typeof launchSchema>

const pathOf = (folder: string): string => join(folder, 'launch.json')

/** @throws FILE_UNWRITABLE */
export async function writeLaunch(folder: string, record: LaunchRecord): Promise<void> {
  await changing(pathOf(folder), async () => replaceFileSync(pathOf(folder), `${JSON.stringify(record)}\n`))
}

/** @throws FILE_MISSING when nothing was launched from the folder */
export async function readLaunch(folder: string): Promise<LaunchRecord> {
  const file = pathOf(folder)
  try {
    return launchSchema.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch (error) {
    throw new PenstockError('FILE_MISSING', 'no launch is recorded in this folder', { file }, error)
  }
}
