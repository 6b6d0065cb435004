/**
 * The workers' side of `read-ranges`: read one range of a file, check its lines, take the field's text and encode it, all
 * inside the kernel's memory; reply with tokens, the places of lines, and what is wrong with those that are faulty.
 */
import { workerData } from 'node:worker_threads'
import type { TokenArray } from '../formats/batches.js'
import type { RecordFault } from '../formats/extract.js'
import type { FieldPath } from '../formats/json-scan.js'
import type { TokenBytes } from '../formats/pbin.js'
import {
  createLineKernel,
  explainLine,
  LINE_STATUSES,
  type LineKernel,
  type ScannedLines,
} from '../tokenizer/line-kernel.js'
import type { PackedLines } from '../tokenizer/pack-kernel.js'
import { type Beacon, WHOLE } from './beacon.js'
import { checkInPieces } from './check-range.js'
import { kernelModule } from './kernel-module.js'
import type { Care } from './leave-out-poison.js'
import { copied, joinScanned, kept, lineByLine, POISONED, type RangeKernel, type WorkedRange } from './line-by-line.js'
import { type FileRange, type LoadedRange, loadRange } from './load-range.js'
import type { TokenizerFacts, TokenizerSetup } from './tokenizer-setup.js'
import { type TaskMessage, workerFunction } from './worker-errors.js'

/** What to do with the lines beside checking them. */
export interface RangePacking extends TokenizerSetup {
  readonly path: FieldPath
  /** What the vocabulary needs when undefined. */
  readonly tokenBytes: TokenBytes | undefined
}

/** The lines that start in the range are the task's. */
export interface RangeTask extends FileRange {
  /** Whether the places of the lines are asked for. */
  readonly index: boolean
  /** Where the reply's arrays go if they fit: memory that is used again needs no garbage collector. */
  readonly slot: SharedArrayBuffer
  /** Pieces are the range's lines, from 0. */
  readonly care: Care
}

/** A fault's line is counted from the range's first, which is 0. */
export type RangeFault = Omit<RecordFault, 'file'>

export interface RangeReply {
  /** What `places` are counted from: an offset in the file. */
  readonly byteOffset: number
  /** Of the range's lines. */
  readonly byteLength: number
  /** Lines that start in the range, faulty ones included. */
  readonly lineCount: number
  /** Of the valid lines, where they are asked for. */
  readonly places: { readonly starts: Uint32Array; readonly ends: Uint32Array } | undefined
  readonly faults: readonly RangeFault[]
  /** Of the lines that are documents; undefined when nothing is packed. */
  readonly documents: { readonly tokens: TokenArray; readonly lengths: Uint32Array } | undefined
}

const FIRST_FIELD_STATUS = LINE_STATUSES.indexOf('FIELD_MISSING')

/** What the worker is set up for; without it, lines are only checked. */
const packing = workerData as RangePacking | null
let openedKernel: Promise<RangeKernel> | undefined
/** Ranges that are not tried in pieces: where one was out of the ordinary, those behind it may well be. */
const LOADED_WHOLE = 16
let toLoadWhole = 0

async function readRange(task: RangeTask, beacon: Beacon): Promise<RangeReply> {
  openedKernel ??= openKernel(beacon)
  const kernel = await openedKernel
  beacon.begin(WHOLE, task.end - task.start)
  const isTried = packing === null && !task.care.pieceByPiece && toLoadWhole === 0
  const reply = isTried ? replyForOrdinary(kernel.lines, task) : undefined
  if (reply !== undefined) return reply
  toLoadWhole = isTried ? LOADED_WHOLE : Math.max(0, toLoadWhole - 1)
  return replyForAny(kernel, task, beacon)
}
export default workerFunction(readRange)

/** What worker-tokenizer.js exports: its code is loaded only to pack. */
export async function describeTokenizer(message: TaskMessage<undefined>): Promise<TokenizerFacts> {
  return (await import('./worker-tokenizer.js')).describeTokenizer(message)
}

async function openKernel(beacon: Beacon): Promise<RangeKernel> {
  if (packing === null) return checkingKernel()
  const { packingKernel } = await import('./range-packing.js')
  return packingKernel(packing, beacon)
}

function checkingKernel(): RangeKernel {
  const lines = createLineKernel({ wasm: kernelModule() })
  const scanOne = (bytes: Uint8Array, start: number, end: number): ScannedLines => kept(lines.scan(bytes, start, end))
  return {
    lines,
    work(range, care, beacon) {
      if (!care.pieceByPiece) return { range, lines: lines.scan(range.bytes, range.first, range.stop) }
      const copy = copied(range)
      return { range: copy, lines: joinScanned(lineByLine(copy, care, beacon, scanOne)) }
    },
  }
}

/** Undefined where the range is out of the ordinary, see check-range.ts. */
function replyForOrdinary(lines: LineKernel, task: RangeTask): RangeReply | undefined {
  const most = task.slot.byteLength >> 3
  const starts = new Uint32Array(task.slot, 0, most)
  const ends = new Uint32Array(task.slot, most * 4, most)
  const checked = checkInPieces(lines, task, starts, ends)
  if (checked === undefined) return undefined
  const { origin: byteOffset, byteLength, lineCount } = checked
  const places = task.index ? { starts: starts.subarray(0, lineCount), ends: ends.subarray(0, lineCount) } : undefined
  return { byteOffset, byteLength, lineCount, places, faults: [], documents: undefined }
}

function replyForAny(kernel: RangeKernel, task: RangeTask, beacon: Beacon): RangeReply {
  const range = loadRange(kernel.lines, task)
  beacon.begin(WHOLE, range.bytes.length)
  return replyFor(task, kernel.work(range, task.care, beacon))
}

function replyFor(task: RangeTask, { range, lines }: WorkedRange): RangeReply {
  const { lineStarts, lineEnds, statuses } = lines
  const path = packing?.path ?? []
  const slot = new Slot(task.slot)
  // A line that kills the tokenizer's worker stays a line of the index; one that kills the check itself does not.
  const isValid = (status: number): boolean =>
    status === 0 || (status === POISONED ? packing !== null : status >= FIRST_FIELD_STATUS)
  const allValid = task.index && statuses.every(isValid)
  const placesOf = (values: Uint32Array): Uint32Array =>
    slot.put(allValid ? values : values.filter((_, line) => isValid(statuses[line]!)))
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
    byteOffset: range.origin,
    byteLength: range.stop - range.first,
    lineCount: statuses.length + (range.overlong ? 1 : 0),
    documents: 'tokens' in lines ? documentsOf(lines, slot) : undefined,
    places: task.index ? { starts: placesOf(lineStarts), ends: placesOf(lineEnds) } : undefined,
    faults,
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

function documentsOf({ tokens, lengths, statuses }: PackedLines, slot: Slot): RangeReply['documents'] {
  const areAll = statuses.every(status => status === 0)
  return {
    tokens: slot.put(tokens),
    lengths: slot.put(areAll ? lengths : lengths.filter((_, line) => statuses[line] === 0)),
  }
}

/** Copies out of the kernel's memory, which is used again, into a task's. */
class Slot {
  private readonly memory: SharedArrayBuffer
  private end = 0

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
  }

  put<Values extends TokenArray>(values: Values): Values {
    const start = (this.end + 3) & ~3
    if (start + values.byteLength > this.memory.byteLength) return values.slice() as Values
    this.end = start + values.byteLength
    const View = values.constructor as new (buffer: SharedArrayBuffer, offset: number, length: number) => Values
    const copy = new View(this.memory, start, values.length)
    copy.set(values)
    return copy
  }
}
