/** Checks an index: its format, its manifest, and that its source is unchanged. */

import type { FileHandle } from 'node:fs/promises'
import { PenstockError } from '../errors.js'
import { type IndexManifest, readIndexManifest } from '../files/manifest.js'
import { readAt } from '../files/read-at.js'
import { closeSource, openSource } from '../files/source-file.js'
import { fingerprintOf, isSameFingerprint } from '../files/sources/file-fingerprint.js'
import { createIndexReader } from '../formats/idx.js'
import { count, quantity } from '../formats/message-words.js'
import { checkBlocks } from './block-check.js'
import { Findings, type Verdict } from './findings.js'

const CHUNK_BYTES = 256 << 10

/** @param source the indexed file, if available */
export async function verifyIndex(path: string, source: string | undefined): Promise<Verdict> {
  const findings = new Findings()
  const counts = { records: 0, bytes: 0 }
  await findings.run(async () => {
    const { handle, stats } = await openSource(path)
    try {
      counts.bytes = stats.size
      const manifest = await findings.run(() => readIndexManifest(path, stats.size))
      const sourceBytes = source === undefined ? undefined : await checkSource(path, source, manifest, findings)
      if (manifest === undefined) findings.noManifest(path)
      else
        await checkBlocks(
          { path, fd: handle.fd, from: 0, fileBytes: stats.size, checksums: manifest.checksums },
          findings,
        )
      counts.records = await countEntries(path, handle, sourceBytes)
      if (manifest !== undefined && manifest.records !== counts.records) {
        const message = `${quantity(counts.records, 'record')}; the manifest says ${count(manifest.records)}`
        findings.add('damaged', new PenstockError('IDX_INVALID', message, { file: path }))
      }
    } finally {
      await closeSource(path, handle)
    }
  })
  return { path, kind: 'index', counts, findings: findings.list }
}

/** @returns the size of the source */
async function checkSource(
  path: string,
  source: string,
  manifest: IndexManifest | undefined,
  findings: Findings,
): Promise<number> {
  const found = await fingerprintOf(source)
  if (manifest?.source !== undefined && !isSameFingerprint(manifest.source, found)) {
    const message = `${source} changed after this index was created: index it again`
    findings.add('damaged', new PenstockError('FILE_CHANGED', message, { file: path }))
  }
  return found.bytes
}

/** @throws PICKLE_INVALID, IDX_INVALID */
async function countEntries(path: string, handle: FileHandle, sourceBytes: number | undefined): Promise<number> {
  const where = { file: path }
  const reader = createIndexReader(() => {}, sourceBytes === undefined ? { where } : { where, sourceBytes })
  const chunk = new Uint8Array(CHUNK_BYTES)
  for (let position = 0; ; ) {
    const bytesRead = await readAt({ path, handle }, chunk, position)
    if (bytesRead === 0) return reader.end()
    reader.feed(chunk.subarray(0, bytesRead))
    position += bytesRead
  }
}
