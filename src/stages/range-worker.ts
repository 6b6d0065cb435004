/**
 * The workers' side of `read-ranges`: read one range of a file, check its lines, take the field's text and encode it, all
 * inside the kernel's memory; reply with tokens, the table of lines, and what is wrong with those that are faulty.
 */
import { readSync } from 'node:fs'
import { move, transferableSymbol, valueSymbol } from 'piscina'
import { PenstockError } from '../errors.js'
import type { TokenArray } from '../formats/batches.js'
import type { RecordFault } from '../formats/extract.js'
import type { FieldPath } from '../formats/json-scan.js'
import {
  createLineKernel,
  createPackKernel,
  explainLine,
  LINE_STATUSES,
  type LineKernel,
  type PackedLines,
  type PackKernel,
  type ScannedLines,
} from '../tokenizer/pack-kernel.js'
import { kernelModule } from './kernel-module.js'
import { sendingErrors } from './worker-errors.js'
import { tokenizerAt } from './worker-tokenizer.js'

export { describeTokenizer } from './worker-tokenizer.js'

/** What to do with the lines beside checking them. */
export interface RangePacking {
  readonly tokenizerPath: string
  readonly path: FieldPath
  readonly endOfDocumentId: number | undefined
  readonly tokenBytes: 1 | 2 | 4
}

export interface RangeTask {
  readonly descriptor: number
  readonly file: string
  readonly fileBytes: number
  /** The lines that start in [start, end) are this task's; start is a multiple of the page size. */
  readonly start: number
  readonly end: number
  readonly maxLineBytes: number
  readonly packing: RangePacking | undefined
  /** Where the tokens go if they fit: memory that is used again needs no garbage collector. */
  readonly slot: SharedArrayBuffer | undefined
}

/** A fault's line is counted from the range's first, which is 0. */
export type RangeFault = Omit<RecordFault, 'file'>

export interface RangeReply {
  /** Offset in the file of the range's first line. */
  readonly byteOffset: number
  readonly byteLength: number
  /** Lines that start in the range, faulty ones included. */
  readonly lineCount: number
  /** Valid lines, from byteOffset on, and their numbers from 0. */
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  readonly lines: Uint32Array
  readonly faults: readonly RangeFault[]
  /** Of the lines that are documents; undefined when nothing is packed. */
  readonly tokens: TokenArray | undefined
  readonly lengths: Uint32Array | undefined
}

const LF = 0x0a
const PAGE_BYTES = 4096
const LOOK_AHEAD_BYTES = 64 << 10
const FIRST_FIELD_STATUS = LINE_STATUSES.indexOf('FIELD_MISSING')

let lineKernel: LineKernel | undefined
const packKernels = new Map<string, Promise<PackKernel>>()

async function readRange(task: RangeTask): Promise<unknown> {
  const reply = task.packing === undefined ? scanRange(task) : await packRange(task, task.packing)
  const arrays = [reply.starts, reply.ends, reply.lines, reply.tokens, reply.lengths]
  // Shared memory is not moved: it stays where both threads see it.
  const buffers = arrays.flatMap(array => (array?.buffer instanceof ArrayBuffer ? [array.buffer] : []))
  return move({ [transferableSymbol]: buffers, [valueSymbol]: reply } as never)
}
export default sendingErrors(readRange)

function scanRange(task: RangeTask): RangeReply {
  lineKernel ??= createLineKernel({ wasm: kernelModule() })
  const range = loadRange(lineKernel, task)
  return replyFor(task, range, lineKernel.scan(range.bytes, range.first, range.stop), [])
}

async function packRange(task: RangeTask, packing: RangePacking): Promise<RangeReply> {
  const kernel = await packKernelFor(packing)
  const range = loadRange(kernel, task)
  const packed = kernel.pack(range.bytes, range.first, range.stop)
  return { ...replyFor(task, range, packed, packing.path), ...documentsOf(packed, task.slot) }
}

function packKernelFor(packing: RangePacking): Promise<PackKernel> {
  const key = JSON.stringify(packing)
  let kernel = packKernels.get(key)
  if (kernel === undefined) {
    kernel = tokenizerAt(packing.tokenizerPath).then(({ tokenizer }) => {
      const { path: field, endOfDocumentId: eodId, tokenBytes: width } = packing
      return createPackKernel({ tokenizer, field, eodId, width })
    })
    packKernels.set(key, kernel)
  }
  return kernel
}

interface LoadedRange {
  readonly bytes: Uint8Array
  /** Where bytes[0] stands in the file. */
  readonly origin: number
  /** The task's lines are bytes[first, stop). */
  readonly first: number
  readonly stop: number
  /** The line behind them is this task's too, but longer than the limit: bytes[stop...]. */
  readonly overlong: boolean
}

/**
 * Reads the lines that start in a range, and as much of what follows as its last line takes. Reading starts at a page:
 * at odd offsets it is up to four times slower.
 */
function loadRange(kernel: LineKernel, task: RangeTask): LoadedRange {
  const { start, end, fileBytes, maxLineBytes } = task
  const origin = start === 0 ? 0 : start - PAGE_BYTES
  for (let lookAhead = LOOK_AHEAD_BYTES; ; lookAhead *= 4) {
    const readEnd = Math.min(fileBytes, end + lookAhead)
    const bytes = kernel.input(readEnd - origin)
    readFully(task, bytes, origin)
    const first = start === 0 ? 0 : bytes.indexOf(LF, PAGE_BYTES - 1) + 1
    const limit = end - origin
    const none = { bytes, origin, first: limit, stop: limit, overlong: false }
    // The range lies inside a line that began before it.
    if ((start > 0 && first === 0) || first >= limit) return none
    const feed = bytes.indexOf(LF, limit - 1)
    const stop = feed < 0 ? bytes.length : feed + 1
    const lastStart = bytes.lastIndexOf(LF, limit - 2) + 1
    const isWhole = feed >= 0 || readEnd === fileBytes
    if (isWhole && stop - Math.max(first, lastStart) <= maxLineBytes + 1) {
      return { bytes, origin, first, stop, overlong: false }
    }
    if (isWhole || readEnd - origin - lastStart > maxLineBytes + 1) {
      return { bytes, origin, first, stop: Math.max(first, lastStart), overlong: true }
    }
  }
}

function readFully({ descriptor, file }: RangeTask, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    const read = readSync(descriptor, bytes, done, bytes.length - done, position + done)
    if (read === 0) {
      throw new PenstockError('FILE_CHANGED', 'the file shrank while it was read', {
        file,
        byteOffset: position + done,
      })
    }
    done += read
  }
}

function replyFor(task: RangeTask, range: LoadedRange, scanned: ScannedLines, path: FieldPath): RangeReply {
  const { lineStarts, lineEnds, statuses } = scanned
  const isValid = (_: number, line: number): boolean => statuses[line] === 0 || statuses[line]! >= FIRST_FIELD_STATUS
  const allValid = statuses.every(status => status === 0 || status >= FIRST_FIELD_STATUS)
  const chosen = (values: Uint32Array): Uint32Array => (allValid ? values : values.filter(isValid))
  const fromFirst = (values: Uint32Array): Uint32Array => chosen(values).map(value => value - range.first)
  const faults: RangeFault[] = []
  for (let line = 0; line < statuses.length; line++) {
    if (statuses[line] === 0) continue
    faults.push(faultOf(range, lineStarts[line]!, lineEnds[line]!, line, LINE_STATUSES[statuses[line]!]!, path))
  }
  if (range.overlong) {
    faults.push({
      code: 'LINE_TOO_LONG',
      message: `the line is longer than ${task.maxLineBytes} bytes (max_line_bytes)`,
      line: statuses.length,
      byteOffset: range.origin + range.stop,
      record: range.bytes.slice(range.stop, range.stop + 1024),
    })
  }
  return {
    byteOffset: range.origin + range.first,
    byteLength: range.stop - range.first,
    lineCount: statuses.length + (range.overlong ? 1 : 0),
    starts: fromFirst(lineStarts),
    ends: fromFirst(lineEnds),
    lines: chosen(Uint32Array.from(lineStarts, (_, line) => line)),
    faults,
    tokens: undefined,
    lengths: undefined,
  }
}

const TOKEN_FAULTS: Partial<Record<RangeFault['code'], string>> = {
  DOCUMENT_EMPTY: 'the document has no tokens',
  TOKEN_TOO_WIDE: 'a token id of the document does not fit (token_bytes)',
}

function faultOf(
  { bytes, origin }: LoadedRange,
  start: number,
  end: number,
  line: number,
  code: RangeFault['code'],
  path: FieldPath,
): RangeFault {
  const explained = explainLine(bytes, start, end, path)
  const isInLine = explained !== undefined && !code.startsWith('FIELD')
  return {
    code,
    message: isInLine
      ? `${explained.message} (column ${explained.offset - start + 1})`
      : (explained?.message ?? TOKEN_FAULTS[code] ?? code),
    line,
    byteOffset: origin + (isInLine ? explained.offset : start),
    record: bytes.slice(start, end),
  }
}

/** The kernel's tokens are valid until its next call: what is sent is a copy. */
function documentsOf(
  { tokens, lengths, statuses }: PackedLines,
  slot: SharedArrayBuffer | undefined,
): Pick<RangeReply, 'tokens' | 'lengths'> {
  const areAll = statuses.every(status => status === 0)
  return {
    tokens: slot !== undefined && tokens.byteLength <= slot.byteLength ? copyInto(slot, tokens) : tokens.slice(),
    lengths: areAll ? lengths.slice() : lengths.filter((_, line) => statuses[line] === 0),
  }
}

function copyInto(slot: SharedArrayBuffer, tokens: TokenArray): TokenArray {
  const View = tokens.constructor as new (buffer: SharedArrayBuffer, offset: number, length: number) => TokenArray
  const copy = new View(slot, 0, tokens.length)
  copy.set(tokens)
  return copy
}
