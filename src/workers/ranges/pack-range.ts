/** Tokenizing part of the `read-ranges` worker: the only part that loads the tokenizer's code. */
import { tokenBytesOf } from '../../formats/pbin.js'
import { createPackKernel, type PackedLines } from '../../tokenizer/pack-lines.js'
import type { Heartbeat } from '../heartbeat.js'
import { workerTokenizer } from '../tokenizer/worker-tokenizer.js'
import { copyLines, copyRange, joinPacked, processLineByLine, type RangeKernel } from './line-by-line.js'
import type { RangePacking } from './range-task.js'

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
  return {
    lines,
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
