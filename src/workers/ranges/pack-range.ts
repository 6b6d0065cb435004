/** Tokenizing part of the `read-ranges` worker: the only part that loads the tokenizer's code. */

import type { TokenArray } from '../../formats/batches.js'
import { tokenBytesOf } from '../../formats/pbin.js'
import { createPackKernel, type PackedLines, type PackedTexts } from '../../tokenizer/pack-lines.js'
import type { Heartbeat } from '../heartbeat.js'
import { workerTokenizer } from '../tokenizer/worker-tokenizer.js'
import {
  copyLines,
  copyRange,
  joinLengths,
  joinPacked,
  joinTexts,
  processLineByLine,
  processTextByText,
  type RangeKernel,
} from './line-by-line.js'
import type { RangePacking } from './range-task.js'

/** Texts at a time: the memory of a kernel grows with the largest, and never shrinks. */
const TEXTS_BYTES = 2 << 20

/** Offsets of consecutive texts, of at most TEXTS_BYTES together or of a single text. */
function partsOf(offsets: Uint32Array): Uint32Array[] {
  const parts: Uint32Array[] = []
  let first = 0
  for (let next = 1; next < offsets.length; next++) {
    const isLast = next === offsets.length - 1
    if (!isLast && offsets[next + 1]! - offsets[first]! <= TEXTS_BYTES) continue
    parts.push(offsets.subarray(first, next + 1))
    first = next
  }
  return parts.length === 0 ? [offsets] : parts
}

/** Tokens of the parts of a range, in the memory of its reply if they fit. */
class JoinedTokens {
  private readonly width: 1 | 2 | 4
  private all: TokenArray
  private count = 0

  constructor(memory: SharedArrayBuffer, width: 1 | 2 | 4) {
    this.width = width
    this.all = viewOf(memory, width)
  }

  append(tokens: TokenArray): void {
    const end = this.count + tokens.length
    if (end > this.all.length) {
      const larger = viewOf(new ArrayBuffer(2 * end * this.width), this.width)
      larger.set(this.tokens)
      this.all = larger
    }
    this.all.set(tokens, this.count)
    this.count = end
  }

  get tokens(): TokenArray {
    return this.all.subarray(0, this.count)
  }
}

function viewOf(memory: ArrayBufferLike, width: 1 | 2 | 4): TokenArray {
  return width === 1 ? new Uint8Array(memory) : width === 2 ? new Uint16Array(memory) : new Uint32Array(memory)
}

/** @throws TOKENIZER_INVALID, TOKEN_TOO_WIDE */
export async function packingKernel({ path, tokenBytes }: RangePacking, heartbeat: Heartbeat): Promise<RangeKernel> {
  const { file, endOfDocumentId } = await workerTokenizer(heartbeat)
  const { tokenizer } = file
  const width = tokenBytes ?? tokenBytesOf(tokenizer)
  const lines = createPackKernel({ tokenizer, field: path, eodId: endOfDocumentId, width })
  const packOne = (bytes: Uint8Array, start: number, end: number): PackedLines => {
    const packed = lines.pack(bytes, start, end)
    return { ...copyLines(packed), tokens: packed.tokens.slice(), lengths: packed.lengths.slice() }
  }
  const packSome = (bytes: Uint8Array, offsets: Uint32Array): PackedTexts => {
    const packed = lines.packTexts(bytes, offsets)
    return { ...packed, tokens: packed.tokens.slice() }
  }
  return {
    lines,
    workTexts(texts, retry, heartbeat, memory) {
      if (tokenizer.engineInfo.fast && !retry.isolateRecords) {
        const parts = partsOf(texts.offsets)
        if (parts.length === 1) return lines.packTexts(texts.bytes, texts.offsets)
        const joined = new JoinedTokens(memory, width)
        const packed = parts.map(offsets => {
          const { tokens, ...rest } = lines.packTexts(texts.bytes, offsets)
          joined.append(tokens)
          return rest
        })
        return { tokens: joined.tokens, ...joinLengths(packed) }
      }
      return joinTexts(processTextByText(texts, retry, heartbeat, packSome), width)
    },
    work(range, retry, heartbeat) {
      // For a slow tokenizer, announcing each line costs nothing measurable.
      if (tokenizer.engineInfo.fast && !retry.isolateRecords) {
        return { range, lines: lines.pack(range.bytes, range.first, range.stop) }
      }
      const copy = copyRange(range)
      return { range: copy, lines: joinPacked(processLineByLine(copy, retry, heartbeat, packOne), width) }
    },
  }
}
