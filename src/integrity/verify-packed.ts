/**
 * Checks a packed file: header and index, that documents cover the data without gaps, manifest and checksums, that token ids
 * belong to the vocabulary, and that documents end with the end-of-document token.
 */

import { PenstockError } from '../errors.js'
import { yieldIfDue } from '../files/event-loop.js'
import { checkTokenizer, type PackedManifest, readPackedManifest } from '../files/manifest.js'
import { openPackedFile, type PackedFile } from '../files/packed-file.js'
import { count, quantity } from '../formats/message-words.js'
import { PBIN_HEADER_BYTES } from '../formats/pbin.js'
import { askTokenizer } from '../workers/tokenizer/tokenizer-thread.js'
import { checkBlocks } from './block-check.js'
import { Findings, type Verdict } from './findings.js'

const WINDOW_TOKENS = 1 << 18

/**
 * @param tokenizerPath tokenizer with which the file should have been packed
 * @throws any error of opening the tokenizer, which is not a fault of the packed file
 */
export async function verifyPacked(path: string, tokenizerPath: string | undefined): Promise<Verdict> {
  const findings = new Findings()
  const tokenizer =
    tokenizerPath === undefined
      ? undefined
      : await askTokenizer(tokenizerPath, ({ path, sha256, totalSize }) => ({ path, sha256, totalSize }))
  const counts = { documents: 0, tokens: 0, bytes: 0 }
  await findings.run(async () => {
    const file = await openPackedFile(path)
    try {
      counts.tokens = file.tokenCount
      counts.bytes = file.fileBytes
      const manifest = await findings.run(() => readPackedManifest(path, file.header))
      await checkContents(file, manifest, findings)
      if (manifest !== undefined && tokenizer !== undefined) {
        await findings.run(async () => checkTokenizer(manifest, tokenizer, path))
      }
      const size = tokenizer?.totalSize ?? Number.POSITIVE_INFINITY
      const vocabulary = { size, endOfDocumentId: manifest?.tokenizer?.endOfDocumentId }
      counts.documents = await checkDocuments(file, vocabulary, findings)
      checkCount(path, manifest, counts.documents, findings)
    } finally {
      await file.close()
    }
  })
  return { path, kind: 'packed file', counts, findings: findings.list }
}

async function checkContents(
  file: PackedFile,
  manifest: PackedManifest | undefined,
  findings: Findings,
): Promise<void> {
  const { path, fileBytes } = file
  if (manifest === undefined) {
    findings.noManifest(path)
    return
  }
  if (manifest.fileBytes !== fileBytes) {
    const message = `${fileBytes} bytes; ${manifest.fileBytes} were written`
    findings.add('damaged', new PenstockError('FILE_DAMAGED', message, { file: path }))
  }
  const { checksums } = manifest
  await checkBlocks({ path, fd: file.fd, from: PBIN_HEADER_BYTES, fileBytes, checksums }, findings)
}

interface Vocabulary {
  /** Upper bound of token ids, exclusive. */
  readonly size: number
  /** Token that ends each document, if the file was packed with one. */
  readonly endOfDocumentId: number | undefined
}

/** Reads index and tokens in parallel; reports only the first finding of each kind. */
async function checkDocuments(file: PackedFile, vocabulary: Vocabulary, findings: Findings): Promise<number> {
  const { path } = file
  let record = 0
  let next = 0
  let withoutEnd = 0
  let first: number | undefined
  const damaged = (message: string): void =>
    findings.add('damaged', new PenstockError('PBIN_INVALID', message, { file: path, record }))
  const tokens = new TokenWindow(file)
  for await (const block of file.documents()) {
    for (let entry = 0; entry < block.length; entry += 2, record++) {
      const [start, length] = [block[entry]!, block[entry + 1]!]
      if (start !== next) {
        damaged(`the document starts at token ${start}, but the previous one ends at ${next}`)
        return record
      }
      next = start + length
      if (vocabulary.endOfDocumentId === undefined || length === 0) continue
      if (tokens.at(next - 1) === vocabulary.endOfDocumentId) continue
      withoutEnd++
      first ??= record
    }
  }
  if (next !== file.tokenCount)
    damaged(`the documents end at token ${count(next)}, the data at ${count(file.tokenCount)}`)
  if (withoutEnd > 0) {
    const message = `${withoutEnd} documents do not end with the token ${vocabulary.endOfDocumentId}; the first one here`
    findings.add('doubtful', new PenstockError('PBIN_INVALID', message, { file: path, record: first! }))
  }
  await checkIds(file, vocabulary, findings)
  return record
}

async function checkIds(file: PackedFile, { size }: Vocabulary, findings: Findings): Promise<void> {
  if (size >= 2 ** (8 * file.header.tokenBytes)) return
  for (let start = 0; start < file.tokenCount; start += WINDOW_TOKENS) {
    await yieldIfDue()
    const tokens = file.readTokens(start, Math.min(WINDOW_TOKENS, file.tokenCount - start))
    const place = tokens.findIndex(id => id >= size)
    if (place < 0) continue
    const message = `token ${start + place} has the id ${tokens[place]}; the tokenizer ends at ${size - 1}`
    findings.add('damaged', new PenstockError('TOKENIZER_MISMATCH', message, { file: file.path }))
    return
  }
}

function checkCount(path: string, manifest: PackedManifest | undefined, documents: number, findings: Findings): void {
  if (manifest === undefined || manifest.documents === documents) return
  const message = `${quantity(documents, 'document')}; the manifest says ${count(manifest.documents)}`
  findings.add('damaged', new PenstockError('PBIN_INVALID', message, { file: path }))
}

/** Reads tokens by position, efficiently for ascending positions. */
class TokenWindow {
  private readonly file: PackedFile
  private tokens: ReturnType<PackedFile['readTokens']> = new Uint8Array(0)
  private start = 0

  constructor(file: PackedFile) {
    this.file = file
  }

  at(position: number): number {
    if (position < this.start || position >= this.start + this.tokens.length) {
      this.start = position
      this.tokens = this.file.readTokens(position, Math.min(WINDOW_TOKENS, this.file.tokenCount - position))
    }
    return this.tokens[position - this.start]!
  }
}
