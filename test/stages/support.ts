/** Shared by tests of stages: temporary folders, streams from values, collected output of streams. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterAll } from 'vitest'
import type { DocumentBatch, LineBatch } from '#src/formats/batches'
import { sink } from '#src/stages/stream/stage'

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Runs the streams to the end and returns the output of the last one. */
export async function gather<Out>(...streams: NodeJS.ReadWriteStream[] | NodeJS.ReadableStream[]): Promise<Out[]> {
  const got: Out[] = []
  const end = sink<Out>('gather', async input => {
    for await (const item of input) got.push(item)
  })
  await pipeline([...streams, end] as unknown as [NodeJS.ReadableStream, NodeJS.WritableStream])
  return got
}

/** A stream of the bytes in chunks of `size`. */
export function chunked(bytes: Uint8Array, size: number): Readable {
  const chunks: Uint8Array[] = []
  for (let start = 0; start < bytes.length; start += size) chunks.push(bytes.subarray(start, start + size))
  return Readable.from(chunks)
}

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

/** The lines of batches as strings. */
export function textOfLines(batches: readonly LineBatch[]): string[] {
  return batches.flatMap(batch =>
    [...batch.starts].map((start, index) =>
      Buffer.from(batch.bytes.subarray(start, batch.ends[index])).toString('utf8'),
    ),
  )
}

/** The documents of batches as strings. */
export function documentTexts(batches: readonly DocumentBatch[]): string[] {
  return batches.flatMap(({ bytes, offsets }) =>
    Array.from(offsets.subarray(1), (end, index) => Buffer.from(bytes.subarray(offsets[index], end)).toString()),
  )
}
