/**
 * A remote file opened for reading, with the reads of a file handle: bytes come in blocks, of which the last few are kept;
 * while a file is read in order, the next blocks are already requested. A broken response continues with the next byte.
 * Memory: at most 20 MiB per open file.
 */
import { PenstockError } from '../../errors.js'
import { copyBody } from './http-request.js'
import type { RemoteEntry, RemoteStore } from './remote-store.js'
import { Attempts } from './retries.js'

const BLOCK_BYTES = 4 << 20
const READ_AHEAD_BLOCKS = 2
const MAX_BLOCKS = READ_AHEAD_BLOCKS + 3

export class RemoteFile {
  readonly entry: RemoteEntry
  private readonly store: RemoteStore
  private readonly stop = new AbortController()
  private readonly signal: AbortSignal
  /** By number, the least recently used first. */
  private readonly blocks = new Map<number, Promise<Uint8Array>>()
  private position = 0
  private lastBlock = -1

  constructor(store: RemoteStore, entry: RemoteEntry, signal?: AbortSignal) {
    this.store = store
    this.entry = entry
    this.signal = signal === undefined ? this.stop.signal : AbortSignal.any([signal, this.stop.signal])
  }

  /**
   * Reads like a file handle: fewer bytes than asked for at the end of a block, 0 at the end of the file.
   * @throws FILE_CHANGED, FILE_UNREADABLE, the reason of an abort
   */
  async read(
    into: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesRead: number }> {
    const from = position ?? this.position
    if (from >= this.entry.size || length === 0) return { bytesRead: 0 }
    const number = Math.floor(from / BLOCK_BYTES)
    const isInOrder = number === this.lastBlock || number === this.lastBlock + 1
    this.lastBlock = number
    const wanted = this.block(number)
    if (isInOrder) for (let ahead = 1; ahead <= READ_AHEAD_BLOCKS; ahead++) this.block(number + ahead)
    const start = from - number * BLOCK_BYTES
    const bytes = (await wanted).subarray(start, start + length)
    into.set(bytes, offset)
    this.position = from + bytes.byteLength
    return { bytesRead: bytes.byteLength }
  }

  async close(): Promise<void> {
    this.stop.abort(new PenstockError('STOPPED', 'the file was closed', { file: this.entry.name }))
    this.blocks.clear()
  }

  private block(number: number): Promise<Uint8Array> {
    const from = number * BLOCK_BYTES
    const known = this.blocks.get(number)
    this.blocks.delete(number)
    const block = known ?? this.fetch(from, Math.min(this.entry.size, from + BLOCK_BYTES))
    // Reported by the read that needs the block, if any does.
    block.catch(() => {})
    this.blocks.set(number, block)
    if (this.blocks.size > MAX_BLOCKS) this.blocks.delete(this.blocks.keys().next().value!)
    return block
  }

  private async fetch(from: number, to: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(Math.max(0, to - from))
    const attempts = new Attempts(this.entry.name, this.signal)
    for (let done = 0; done < bytes.byteLength; ) {
      const response = await this.store.request(this.entry, from + done, to, this.signal)
      const part = await copyBody(response, bytes.subarray(done))
      done += part.bytes
      if (part.bytes > 0) attempts.reset()
      if (done < bytes.byteLength) await attempts.next(part.error ?? 'the response ended early')
    }
    return bytes
  }
}
