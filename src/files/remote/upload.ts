/**
 * Uploads a complete file as one object. Nothing is visible before the last request, which publishes the object as a whole:
 * `If-None-Match: *` makes it fail if the object exists by then, so of two writers the first one wins.
 *
 * `FILE.upload` records the upload in progress. The next upload of the file after a kill finds out whether the object was
 * published already, and aborts the upload of leftover parts otherwise. The caller removes it with the file.
 */
import { randomUUID } from 'node:crypto'
import { type FileHandle, open, writeFile } from 'node:fs/promises'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../../errors.js'
import { changing } from '../durable.js'
import { readFully, readWhole } from '../read-at.js'
import { textOf } from './http-request.js'
import { parseRemoteName, type RemoteName } from './remote-name.js'
import { codeIn, sendToS3 } from './s3-request.js'
import { uploadRecordOf } from './staging.js'

type S3Name = RemoteName & { readonly kind: 's3' }

const PART_BYTES = 16 << 20
/** The protocol allows 10,000. */
const MAX_PARTS = 9000
const CONCURRENT_PARTS = 2
/** Metadata of the object: identifies the upload when the answer to the last request was lost. */
const ID_HEADER = 'x-amz-meta-penstock-upload'

const recordSchema = z.object({ id: z.string(), uploadId: z.string().optional() })
type UploadRecord = z.output<typeof recordSchema>

/**
 * @param ifExists whether to replace an existing object
 * @throws FILE_EXISTS if the object exists and must not be replaced; FILE_UNWRITABLE, FILE_MISSING for a missing bucket
 */
export async function uploadFile(path: string, name: string, ifExists: 'error' | 'override'): Promise<void> {
  const place = parseRemoteName(name) as S3Name
  const record = uploadRecordOf(path)
  const handle = await open(path, 'r')
  try {
    if (await isPublished(place, record)) return
    const { size } = await handle.stat()
    await (size <= PART_BYTES
      ? putWhole(handle, size, place, record, ifExists)
      : putParts(handle, size, place, record, ifExists))
  } catch (error) {
    throw unwritable(error, name)
  } finally {
    await handle.close()
  }
}

/** Whether the upload that a killed process has recorded was completed; if not, aborts it. */
async function isPublished(place: S3Name, record: string): Promise<boolean> {
  const found = await readRecord(record)
  if (found === undefined) return false
  if ((await idOfObject(place)) === found.id) return true
  if (found.uploadId !== undefined) await abort(place, found.uploadId)
  return false
}

async function putWhole(
  handle: FileHandle,
  size: number,
  place: S3Name,
  record: string,
  ifExists: 'error' | 'override',
): Promise<void> {
  const id = randomUUID()
  await writeRecord(record, { id })
  const body = await bytesOf(handle, place.name, 0, size)
  const headers = { [ID_HEADER]: id, ...conditionOf(ifExists) }
  const response = await sendToS3({ ...place, method: 'PUT', headers, body }, [409, 412])
  await textOf(response)
  await checkPublished(place, id, response.status)
}

async function putParts(
  handle: FileHandle,
  size: number,
  place: S3Name,
  record: string,
  ifExists: 'error' | 'override',
): Promise<void> {
  const id = randomUUID()
  const begun = { ...place, method: 'POST', query: { uploads: '' }, headers: { [ID_HEADER]: id } }
  const [, uploadId] = /<UploadId>([^<]+)<\/UploadId>/.exec(await textOf(await sendToS3(begun))) ?? []
  if (uploadId === undefined)
    throw new PenstockError('FILE_UNWRITABLE', 'the store began no upload', { file: place.name })
  await writeRecord(record, { id, uploadId })
  try {
    const tags = await sendParts(handle, size, place, uploadId)
    const parts = tags.map((tag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${tag}</ETag></Part>`)
    const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`
    const end = { ...place, method: 'POST', query: { uploadId }, headers: conditionOf(ifExists), body }
    const response = await sendToS3(end, [404, 409, 412])
    const code = codeIn(await textOf(response))
    // An answer that takes long begins with status 200, also when an error follows.
    await checkPublished(place, id, code === undefined ? response.status : code === 'PreconditionFailed' ? 412 : 404)
  } catch (error) {
    await abort(place, uploadId).catch(() => {})
    throw error
  }
}

async function sendParts(handle: FileHandle, size: number, place: S3Name, uploadId: string): Promise<string[]> {
  const partBytes = Math.max(PART_BYTES, Math.ceil(size / MAX_PARTS))
  const tags: string[] = []
  let next = 0
  const sender = async (): Promise<void> => {
    for (let part = next++; part * partBytes < size; part = next++) {
      const start = part * partBytes
      const body = await bytesOf(handle, place.name, start, Math.min(size, start + partBytes))
      const query = { partNumber: `${part + 1}`, uploadId }
      const response = await sendToS3({ ...place, method: 'PUT', query, body })
      await textOf(response)
      tags[part] = response.header('etag') ?? ''
    }
  }
  await Promise.all(Array.from({ length: CONCURRENT_PARTS }, sender))
  return tags
}

/**
 * The request that publishes an object may be repeated because its answer was lost, and then fails because of its own
 * success: the metadata of the object tell.
 */
async function checkPublished(place: S3Name, id: string, status: number): Promise<void> {
  if (status < 300 || (await idOfObject(place)) === id) return
  const where = { file: place.name }
  if (status === 404)
    throw new PenstockError('FILE_UNWRITABLE', 'the store ended the upload: run the command again', where)
  const message = 'another run has published this output first; this one has changed nothing'
  throw new PenstockError('FILE_EXISTS', message, where)
}

const conditionOf = (ifExists: 'error' | 'override'): Readonly<Record<string, string>> =>
  ifExists === 'override' ? {} : { 'if-none-match': '*' }

async function idOfObject(place: S3Name): Promise<string | undefined> {
  const response = await sendToS3({ ...place, headers: { range: 'bytes=0-0' } }, [404, 416])
  await textOf(response)
  return response.header(ID_HEADER)
}

async function abort(place: S3Name, uploadId: string): Promise<void> {
  await textOf(await sendToS3({ ...place, method: 'DELETE', query: { uploadId } }, [404]))
}

/** Undefined without a record, and for one that was cut off by a kill. */
async function readRecord(path: string): Promise<UploadRecord | undefined> {
  try {
    return recordSchema.safeParse(JSON.parse((await readWhole(path)).toString())).data
  } catch {
    return undefined
  }
}

const writeRecord = (path: string, record: UploadRecord): Promise<void> =>
  changing(path, () => writeFile(path, JSON.stringify(record)))

async function bytesOf(handle: FileHandle, name: string, from: number, to: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(to - from)
  if ((await readFully({ path: name, handle }, bytes, from)) === bytes.byteLength) return bytes
  throw new PenstockError('FILE_CHANGED', 'the temporary file became shorter', { file: name })
}

/** The codes of reading do not fit: a run that cannot write can be resumed. */
function unwritable(error: unknown, file: string): PenstockError {
  const found = toPenstockError(error, 'FILE_UNWRITABLE', { file })
  return found.code === 'FILE_UNREADABLE'
    ? new PenstockError('FILE_UNWRITABLE', found.message, found.where, error)
    : found
}
