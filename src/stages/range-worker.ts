/**
 * The workers' side of `read-ranges`: read one range of a file, check its lines, take the field's text and encode it, all
 * inside the kernel's memory; reply with tokens, the table of lines, and what is wrong with those that are faulty.
 */
import { workerData } from 'node:worker_threads'
import { move, transferableSymbol, valueSymbol } from 'piscina'
import type { TokenArray } from '../formats/batches.js'
import type { RecordFault } from '../formats/extract.js'
import type { FieldPath } from '../formats/json-scan.js'
import type { TokenBytes } from '../formats/pbin.js'
import {
  createLineKernel,
  createPackKernel,
  explainLine,
  LINE_STATUSES,
  type LineKernel,
  type PackedLines,
  type ScannedLines,
} from '../tokenizer/pack-kernel.js'
import { type Beacon, WHOLE } from './beacon.js'
import { kernelModule } from './kernel-module.js'
import type { Care } from './leave-out-poison.js'
import { joinPacked, joinScanned, lineByLine, POISONED } from './line-by-line.js'
import { type FileRange, type LoadedRange, loadRange } from './load-range.js'
import { workerFunction } from './worker-errors.js'
import { type TokenizerSetup, tokenBytesOf, type WorkerTokenizer, workerTokenizer } from './worker-tokenizer.js'

export { describeTokenizer } from './worker-tokenizer.js'

/** What to do with the lines beside checking them. */
export interface RangePacking extends TokenizerSetup {
  readonly path: FieldPath
  /** What the vocabulary needs when undefined. */
  readonly tokenBytes: TokenBytes | undefined
}

/** The lines that start in the range are the task's. */
export interface RangeTask extends FileRange {
  /** Where the tokens go if they fit: memory that is used again needs no garbage collector. */
  readonly slot: SharedArrayBuffer | undefined
  /** Pieces are the range's lines, from 0. */
  readonly care: Care
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

const FIRST_FIELD_STATUS = LINE_STATUSES.indexOf('FIELD_MISSING')

/** What the worker is set up for; without it, lines are only checked. */
const packing = workerData as RangePacking | null
let openedKernel: Promise<RangeKernel> | undefined

async function readRange(task: RangeTask, beacon: Beacon): Promise<unknown> {
  openedKernel ??= openKernel(beacon)
  const kernel = await openedKernel
  beacon.begin(WHOLE, task.end - task.start)
  const range = loadRange(kernel.lines, task)
  beacon.begin(WHOLE, range.bytes.length)
  const reply = kernel.work(task, range, beacon)
  const arrays = [reply.starts, reply.ends, reply.lines, reply.tokens, reply.lengths]
  // Shared memory is not moved: it stays where both threads see it.
  const buffers = arrays.flatMap(array => (array?.buffer instanceof ArrayBuffer ? [array.buffer] : []))
  return move({ [transferableSymbol]: buffers, [valueSymbol]: reply } as never)
}
export default workerFunction(readRange)

interface RangeKernel {
  readonly lines: LineKernel
  work(task: RangeTask, range: LoadedRange, beacon: Beacon): RangeReply
}

async function openKernel(beacon: Beacon): Promise<RangeKernel> {
  return packing === null ? scanningKernel() : packingKernel(packing, await workerTokenizer(beacon))
}

function scanningKernel(): RangeKernel {
  const lines = createLineKernel({ wasm: kernelModule() })
  const scan = (bytes: Uint8Array, start: number, end: number): ScannedLines => lines.scan(bytes, start, end)
  return {
    lines,
    work(task, range, beacon) {
      if (!task.care.pieceByPiece) return replyFor(task, range, scan(range.bytes, range.first, range.stop), [])
      const copy = copied(range)
      return replyFor(task, copy, joinScanned(lineByLine(copy, task.care, beacon, scan)), [])
    },
  }
}

function packingKernel({ path, tokenBytes }: RangePacking, { file, endOfDocumentId }: WorkerTokenizer): RangeKernel {
  const { tokenizer } = file
  const width = tokenBytes ?? tokenBytesOf(tokenizer)
  const lines = createPackKernel({ tokenizer, field: path, eodId: endOfDocumentId, width })
  const packOne = (bytes: Uint8Array, start: number, end: number): PackedLines => {
    const packed = lines.pack(bytes, start, end)
    return { ...packed, tokens: packed.tokens.slice() }
  }
  const reply = (task: RangeTask, range: LoadedRange, packed: PackedLines): RangeReply => ({
    ...replyFor(task, range, packed, path),
    ...documentsOf(packed, task.slot),
  })
  return {
    lines,
    work(task, range, beacon) {
      // A tokenizer that is slow anyway loses nothing by showing each line.
      if (tokenizer.how.fast && !task.care.pieceByPiece) {
        return reply(task, range, lines.pack(range.bytes, range.first, range.stop))
      }
      const copy = copied(range)
      return reply(task, copy, joinPacked(lineByLine(copy, task.care, beacon, packOne), width))
    },
  }
}

/** Out of the kernel's memory, which is used for single lines then. */
const copied = (range: LoadedRange): LoadedRange => ({ ...range, bytes: range.bytes.slice() })

function replyFor(task: RangeTask, range: LoadedRange, scanned: ScannedLines, path: FieldPath): RangeReply {
  const { lineStarts, lineEnds, statuses } = scanned
  // A line that kills the tokenizer's worker stays a line of the index; one that kills the check itself does not.
  const isValid = (status: number): boolean =>
    status === 0 || (status === POISONED ? packing !== null : status >= FIRST_FIELD_STATUS)
  const allValid = statuses.every(isValid)
  const chosen = (values: Uint32Array): Uint32Array =>
    allValid ? values : values.filter((_, line) => isValid(statuses[line]!))
  const fromFirst = (values: Uint32Array): Uint32Array => chosen(values).map(value => value - range.first)
  const faults: RangeFault[] = []
  for (let line = 0; line < statuses.length; line++) {
    if (statuses[line] === 0) continue
    const [start, end] = [lineStarts[line]!, lineEnds[line]!]
    faults.push(
      statuses[line] === POISONED
        ? poisonFault(range, start, end, line, task.care)
        : faultOf(range, start, end, line, LINE_STATUSES[statuses[line]!]!, path),
    )
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

function poisonFault({ bytes, origin }: LoadedRange, start: number, end: number, line: number, care: Care): RangeFault {
  const { code, message } = care.poison.find(({ piece }) => piece === line)!
  return { code, message, line, byteOffset: origin + start, record: bytes.slice(start, end) }
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
