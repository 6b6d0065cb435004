/**
 * Checks a `.pack` file: header and size, manifest and checksums, and each row: its entries, the documents and tokens that they
 * name, and that the rows add up to the totals of the header.
 */

import { PenstockError } from '../errors.js'
import { DescriptorPool } from '../files/descriptor-pool.js'
import { yieldIfDue } from '../files/event-loop.js'
import { openPackFile, type PackFile } from '../files/samples/pack-file.js'
import { crc32 } from '../formats/crc32.js'
import { count, quantity } from '../formats/message-words.js'
import { encodePackHeader, packHeaderBytes } from '../formats/pack.js'
import { checkBlocks } from './block-check.js'
import { Findings, type Verdict } from './findings.js'

export async function verifyRows(path: string): Promise<Verdict> {
  const findings = new Findings()
  // Each entry of a row is a document, or a part of one that several rows share.
  const counts = { rows: 0, documentParts: 0, tokens: 0, bytes: 0 }
  const pool = new DescriptorPool()
  await findings.run(async () => {
    const file = await openPackFile(path, pool)
    counts.bytes = file.fileBytes
    await checkContents(file, findings)
    for (; counts.rows < file.header.rows; counts.rows++) {
      await yieldIfDue()
      for (const { tokens } of file.row(counts.rows)) {
        counts.documentParts++
        counts.tokens += tokens
      }
    }
    checkTotals(file, counts, findings)
  })
  pool.close()
  return { path, kind: 'packed rows', counts, findings: findings.list }
}

async function checkContents(file: PackFile, findings: Findings): Promise<void> {
  const { path, fd, fileBytes, header } = file
  const manifest = await findings.run(() => file.manifest())
  if (manifest === undefined) {
    findings.noManifest(path)
    return
  }
  const { checksums } = manifest
  await checkBlocks({ path, fd, from: packHeaderBytes(header.files.length), fileBytes, checksums }, findings)
  const { headerChecksum = crc32(encodePackHeader(header)) } = manifest
  if (manifest.rows === header.rows && headerChecksum === crc32(encodePackHeader(header))) return
  const message = 'the header differs from what was written'
  findings.add('damaged', new PenstockError('FILE_DAMAGED', message, { file: path, byteOffset: 0 }))
}

function checkTotals(
  { path, header }: PackFile,
  { documentParts, tokens }: { readonly documentParts: number; readonly tokens: number },
  findings: Findings,
): void {
  if (documentParts === header.entries && tokens === header.tokens) return
  const message = `the rows have ${count(documentParts)} entries and ${quantity(tokens, 'token')}; the header says ${count(header.entries)} and ${count(header.tokens)}`
  findings.add('damaged', new PenstockError('PACK_INVALID', message, { file: path }))
}
