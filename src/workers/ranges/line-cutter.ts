/** Cuts a stream of decompressed text into ranges of complete lines in shared memory. */

/** A range of lines. The memory also has the head of an overlong line after it. */
export interface CutLines {
  readonly memory: SharedArrayBuffer
  readonly byteLength: number
  readonly skippedBytes: number
  readonly overlongBytes: number
}

const LF = 0x0a
/** Bytes of an overlong line that are kept, for its fault. */
const HEAD_BYTES = 1024

export class LineCutter {
  private readonly rangeBytes: number
  private readonly maxLineBytes: number
  private readonly newMemory: (byteLength: number) => SharedArrayBuffer
  private memory: Uint8Array<SharedArrayBuffer>
  private filled = 0
  /** Bytes of an overlong line since the last range. */
  private skipped = 0
  private isSkipping: boolean

  /**
   * @param rangeBytes at most maxLineBytes
   * @param isSkipping whether the text begins inside a line to skip
   * @param newMemory provides memory of at least the given size, which belongs to the consumer of the range
   */
  constructor(
    rangeBytes: number,
    maxLineBytes: number,
    isSkipping: boolean,
    newMemory: (byteLength: number) => SharedArrayBuffer,
  ) {
    this.rangeBytes = rangeBytes
    this.maxLineBytes = maxLineBytes
    this.isSkipping = isSkipping
    this.newMemory = newMemory
    this.memory = new Uint8Array(newMemory(rangeBytes), 0, rangeBytes)
  }

  *push(chunk: Uint8Array): Generator<CutLines> {
    for (let at = 0; at < chunk.byteLength; ) {
      if (this.isSkipping) {
        const end = chunk.indexOf(LF, at) + 1 || chunk.byteLength
        this.isSkipping = chunk[end - 1] !== LF
        this.skipped += end - at
        at = end
        continue
      }
      const part = chunk.subarray(at, at + this.memory.byteLength - this.filled)
      this.memory.set(part, this.filled)
      this.filled += part.byteLength
      at += part.byteLength
      if (this.filled < this.memory.byteLength) return
      const end = this.memory.lastIndexOf(LF) + 1
      if (end > 0) yield this.take(end)
      else if (this.filled > this.maxLineBytes) yield this.takeOverlong()
      else this.moveTo(this.roomFor(this.filled), 0)
    }
  }

  *finish(): Generator<CutLines> {
    if (this.filled > 0) yield this.take(this.filled)
  }

  private take(byteLength: number): CutLines {
    const lines = { memory: this.memory.buffer, byteLength, skippedBytes: this.skipped, overlongBytes: 0 }
    this.skipped = 0
    this.moveTo(this.roomFor(this.filled - byteLength), byteLength)
    return lines
  }

  private takeOverlong(): CutLines {
    const memory = this.memory.buffer
    const overlongBytes = Math.min(HEAD_BYTES, this.filled)
    const lines = { memory, byteLength: 0, skippedBytes: this.skipped, overlongBytes }
    this.skipped = this.filled
    this.isSkipping = this.memory[this.filled - 1] !== LF
    this.moveTo(this.rangeBytes, this.filled)
    return lines
  }

  /** Never more than a line may have: a full memory without a line feed is an overlong line. */
  private roomFor(rest: number): number {
    return Math.max(this.rangeBytes, Math.min(2 * rest, this.maxLineBytes + 1))
  }

  /** Continues in other memory with the bytes from `start` on. */
  private moveTo(byteLength: number, start: number): void {
    const rest = this.memory.subarray(start, this.filled)
    this.memory = new Uint8Array(this.newMemory(byteLength), 0, byteLength)
    this.memory.set(rest)
    this.filled = rest.byteLength
  }
}
