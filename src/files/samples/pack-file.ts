/** Rows of a `.pack` file by number, without loading it: two small reads per row. */
import { PenstockError } from '../../errors.js'
import {
  decodePackHeader,
  ENTRY_BYTES,
  OFFSET_BYTES,
  type PackHeader,
  packHeaderBytes,
  packHeaderSize,
  rowOffsetsAt,
} from '../../formats/pack.js'
import type { Descriptor, DescriptorPool } from '../descriptor-pool.js'
import { type PackManifest, readPackManifest } from '../manifest.js'
import type { PackedFile } from '../packed-file.js'
import { readFully, readFullySync } from '../read-at.js'
import { closeSource, openSource } from '../source-file.js'

/** A document of a row, or a part of one. */
export interface RowEntry {
  readonly file: number
  readonly firstToken: number
  readonly tokens: number
}

/** @throws FILE_MISSING, FILE_UNREADABLE, PACK_INVALID */
export async function openPackFile(path: string, pool: DescriptorPool): Promise<PackFile> {
  const { handle, stats } = await openSource(path)
  try {
    const start = Buffer.alloc(packHeaderBytes(0))
    const found = start.subarray(0, await readFully({ path, handle }, start, 0))
    const bytes = Buffer.alloc(Math.min(packHeaderSize(found, { file: path }), stats.size))
    await readFully({ path, handle }, bytes, 0)
    return new PackFile(path, pool.add(path, stats), decodePackHeader(bytes, stats.size, { file: path }), stats.size)
  } finally {
    await closeSource(path, handle)
  }
}

export class PackFile {
  readonly path: string
  readonly header: PackHeader
  readonly fileBytes: number
  readonly #descriptor: Descriptor

  constructor(path: string, descriptor: Descriptor, header: PackHeader, fileBytes: number) {
    this.path = path
    this.header = header
    this.#descriptor = descriptor
    this.fileBytes = fileBytes
  }

  get fd(): number {
    return this.#descriptor.fd
  }

  /** @throws PACK_INVALID */
  async manifest(): Promise<PackManifest | undefined> {
    return readPackManifest(this.path, this.fileBytes)
  }

  /** @throws PACK_INVALID if the rows are of other packed files */
  requireFiles(files: readonly PackedFile[]): void {
    const expected = this.header.files
    const differs = (file: PackedFile, number: number) =>
      file.header.dataBytes !== expected[number]?.dataBytes || file.header.tokenBytes !== expected[number].tokenBytes
    const other = files.find(differs)
    if (other === undefined && files.length === expected.length) return
    const what = other === undefined ? `${files.length} files, not ${expected.length}` : `${other.path}, which differs`
    const message = `the rows were packed from other files than those given (${what}): pack the samples again`
    throw new PenstockError('PACK_INVALID', message, { file: this.path })
  }

  /** The documents of a row, in order. @throws FILE_UNREADABLE; PACK_INVALID for a row that cannot be */
  row(number: number): RowEntry[] {
    const { header } = this
    const offsets = this.#read(rowOffsetsAt(header) + OFFSET_BYTES * number, 2 * OFFSET_BYTES)
    const [from, to] = [Number(offsets.getBigUint64(0, true)), Number(offsets.getBigUint64(OFFSET_BYTES, true))]
    if (from > to || to > header.entries || to - from > header.rowTokens) {
      throw this.#invalid(number, `entries ${from} to ${to} of ${header.entries} are no row`)
    }
    const bytes = this.#read(packHeaderBytes(header.files.length) + ENTRY_BYTES * from, ENTRY_BYTES * (to - from))
    const entries = Array.from({ length: to - from }, (_, at) => this.#entryAt(bytes, ENTRY_BYTES * at, number))
    const size = entries.reduce((sum, { tokens }) => sum + tokens, 0)
    if (size > header.rowTokens) throw this.#invalid(number, `${size} tokens in a row of ${header.rowTokens}`)
    return entries
  }

  #entryAt(bytes: DataView, at: number, row: number): RowEntry {
    const firstToken = Number(bytes.getBigUint64(at, true))
    const tokens = bytes.getUint32(at + 8, true)
    const document = bytes.getUint32(at + 12, true)
    const file = this.header.files.findLastIndex(({ firstDocument }) => firstDocument <= document)
    const { dataBytes, tokenBytes } = this.header.files[file]!
    const [end, size] = [firstToken + tokens, Math.floor(dataBytes / tokenBytes)]
    if (end > size) throw this.#invalid(row, `document ${document} ends at token ${end} of a file of ${size} tokens`)
    return { file, firstToken, tokens }
  }

  #read(position: number, byteLength: number): DataView {
    const bytes = new Uint8Array(byteLength)
    readFullySync(this, bytes, position)
    return new DataView(bytes.buffer)
  }

  #invalid(row: number, reason: string): PenstockError {
    const message = `row ${row} is invalid: ${reason}; pack the samples again`
    return new PenstockError('PACK_INVALID', message, { file: this.path })
  }
}
