/**
 * Outputs in object stores are written to a staging folder of this machine first, with the lock, journal and temporary
 * files of any output, and uploaded when they are complete. The path in the staging folder has the name of the object:
 * `uploads/ENDPOINT/BUCKET/KEY` in the user's cache folder.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { PenstockError, toPenstockError } from '../../errors.js'
import { cacheFolder } from '../cache-folder.js'
import { endpointOfS3 } from './aws-profiles.js'
import { parseRemoteName } from './remote-name.js'

const root = (): string => join(cacheFolder(), 'uploads', encodeURIComponent(endpointOfS3() ?? 'aws'))

/**
 * Where an output is written before it is uploaded; creates the folder.
 * @throws ARGUMENT_INVALID for a name that cannot be written; FILE_UNWRITABLE
 */
export async function stagingPathOf(name: string): Promise<string> {
  const place = parseRemoteName(name)
  if (place.kind !== 's3') {
    throw new PenstockError('ARGUMENT_INVALID', 'outputs are local files or objects (s3://BUCKET/KEY)', { file: name })
  }
  const parts = place.key.split('/')
  if (parts.some(part => part === '' || part === '.' || part === '..')) {
    throw new PenstockError('ARGUMENT_INVALID', 'the key of an output has no empty parts and no . or ..', {
      file: name,
    })
  }
  const path = join(root(), place.bucket, ...parts)
  await mkdir(dirname(path), { recursive: true }).catch(error => {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: dirname(path) })
  })
  return path
}

/** The name of the object that a path in the staging folder is uploaded to; undefined for any other path. */
export function objectNameOf(path: string): string | undefined {
  const folder = `${root()}${sep}`
  return path.startsWith(folder) ? `s3://${path.slice(folder.length).split(sep).join('/')}` : undefined
}

/** Record of the upload of a file that is in progress. */
export const uploadRecordOf = (path: string): string => `${path}.upload`
