/**
 * Worker of `read-ranges`: reads one range of a file, validates its lines, extracts the text field and encodes it, all
 * in the kernel's memory. Replies with tokens, line offsets and faults.
 */
import { workerData } from 'node:worker_threads'
import { readFullySync } from '../../files/read-at.js'
import { requireText, SIGNATURE_BYTES } from '../../files/source-format.js'
import type { TokenArray } from '../../formats/batches.js'
import type { FieldPath } from '../../formats/json-scan.js'
import {
  createLineKernel,
  explainLine,
  LINE_STATUSES,
  type LineKernel,
  type ScannedLines,
} from '../../tokenizer/kernel/scan-lines.js'
import type { PackedTexts } from '../../tokenizer/pack-lines.js'
import { type Heartbeat, WHOLE_TASK } from '../heartbeat.js'
import type { RetryMode } from '../poison-records.js'
import { kernelModule } from '../tokenizer/kernel-module.js'
import type { TokenizerFacts } from '../tokenizer/tokenizer-setup.js'
import { type TaskMessage, workerFunction } from '../worker-function.js'
import { writeChunk as writeChunkOf } from '../write-chunk.js'
import {
  copyLines,
  copyRange,
  joinScanned,
  POISONED,
  processLineByLine,
  type RangeKernel,
  type WorkedRange,
} from './line-by-line.js'
import { loadPages, loadRows } from './load-pages.js'
import { type LoadedRange, loadRange } from './load-range.js'
import { loadFrames, loadText } from './load-text.js'
import { FaultPacker, type RangeFault } from './range-faults.js'
import {
  type FileRange,
  type PageRange,
  type RangePacking,
  type RangePart,
  type RangeReply,
  type RangeTask,
  TOO_LARGE,
  type TooLarge,
} from './range-task.js'
import { scanRangeFast } from './scan-range.js'

const FIRST_FIELD_STATUS = LINE_STATUSES.indexOf('FIELD_MISSING')

const NO_FAULTS = new FaultPacker(0).packed()

/** Setup of the worker; null if lines are only validated. */
const packing = workerData as RangePacking | null
let openedKernel: Promise<RangeKernel> | undefined
/** Number of ranges to load whole after the fast path failed on one: the following ones are likely to fail too. */
const WHOLE_LOADS = 16
let wholeLoadsLeft = 0

async function readRange(task: RangeTask, heartbeat: Heartbeat): Promise<RangeReply | TooLarge> {
  openedKernel ??= openKernel(heartbeat)
  const kernel = await openedKernel
  const { part } = task
  heartbeat.begin(WHOLE_TASK, sizeOf(part))
  if (part.kind === 'file' && part.start === 0) requireTextFile(part)
  const tryFastPath = packing === null && !task.retry.isolateRecords && wholeLoadsLeft === 0
  const reply = tryFastPath && part.kind === 'file' ? fastReply(kernel.lines, task, part) : undefined
  if (reply !== undefined) return reply
  if (part.kind === 'pages') return textsReply(kernel, task, part, heartbeat)
  wholeLoadsLeft = tryFastPath ? WHOLE_LOADS : Math.max(0, wholeLoadsLeft - 1)
  return fullReply(kernel, task, part, heartbeat)
}
export default workerFunction(readRange)

/** For the outputs of the run. */
export const writeChunk = workerFunction(writeChunkOf)

/** @throws UNSUPPORTED for a file of another format, regardless of its name */
function requireTextFile({ file, descriptor }: FileRange): void {
  const head = new Uint8Array(SIGNATURE_BYTES)
  const byteLength = readFullySync({ path: file, fd: descriptor }, head, 0)
  requireText(file, head.subarray(0, byteLength), true)
}

function sizeOf(part: RangePart): number {
  if (part.kind === 'text') return part.byteLength
  return part.kind === 'pages' ? part.runs.reduce((sum, run) => sum + run.end - run.start, 0) : part.end - part.start
}

/** Re-export of worker-tokenizer.js, which is loaded only for tokenizing. */
export async function describeTokenizer(message: TaskMessage<undefined>): Promise<TokenizerFacts> {
  return (await import('../tokenizer/worker-tokenizer.js')).describeTokenizer(message)
}

async function openKernel(heartbeat: Heartbeat): Promise<RangeKernel> {
  if (packing === null) return checkingKernel()
  const { packingKernel } = await import('./pack-range.js')
  return packingKernel(packing, heartbeat)
}

function checkingKernel(): RangeKernel {
  const lines = createLineKernel({ wasm: kernelModule() })
  const scanOne = (bytes: Uint8Array, start: number, end: number): ScannedLines =>
    copyLines(lines.scan(bytes, start, end))
  return {
    lines,
    work(range, retry, heartbeat) {
      if (!retry.isolateRecords) return { range, lines: lines.scan(range.bytes, range.first, range.stop) }
      const copy = copyRange(range)
      return { range: copy, lines: joinScanned(processLineByLine(copy, retry, heartbeat, scanOne)) }
    },
  }
}

/** Fast path; undefined when it does not apply, see scan-range.ts. */
function fastReply(lines: LineKernel, task: RangeTask, range: FileRange): RangeReply | undefined {
  const maxLines = task.slot.byteLength >> 3
  const starts = new Uint32Array(task.slot, 0, maxLines)
  const ends = new Uint32Array(task.slot, maxLines * 4, maxLines)
  const checked = scanRangeFast(lines, range, starts, ends)
  if (checked === undefined) return undefined
  const { origin: byteOffset, byteLength, lineCount } = checked
  const places = task.index ? { starts: starts.subarray(0, lineCount), ends: ends.subarray(0, lineCount) } : undefined
  return { byteOffset, textBytes: 0, byteLength, lineCount, places, faults: NO_FAULTS, documents: undefined }
}

async function fullReply(
  kernel: RangeKernel,
  task: RangeTask,
  part: LinePart,
  heartbeat: Heartbeat,
): Promise<RangeReply | TooLarge> {
  const range = await load(kernel.lines, part)
  if (range === TOO_LARGE) return range
  heartbeat.begin(WHOLE_TASK, range.bytes.length)
  return replyFor(task, kernel.work(range, task.retry, heartbeat))
}

type LinePart = Exclude<RangePart, PageRange>

function load(kernel: LineKernel, part: LinePart): LoadedRange | Promise<LoadedRange | TooLarge> {
  switch (part.kind) {
    case 'file':
      return loadRange(kernel, part)
    case 'text':
      return loadText(kernel, part)
    case 'frames':
      return loadFrames(part)
    case 'rows':
      return loadRows(part)
  }
}

function textsReply(
  kernel: RangeKernel,
  { slot: memory, retry }: RangeTask,
  part: PageRange,
  heartbeat: Heartbeat,
): RangeReply {
  const { documents: texts, faults: missing, firstRow, rows } = loadPages(part)
  const { bytes, offsets } = texts
  const byteLength = offsets.at(-1)!
  heartbeat.begin(WHOLE_TASK, byteLength)
  const packed = kernel.workTexts!(texts, retry, heartbeat, memory)
  const slot = new Slot(memory)
  const found: RangeFault[] = missing.map(fault => ({ ...fault, line: fault.line - 1 - firstRow }))
  for (const [index, status] of packed.statuses.entries()) {
    if (status === 0) continue
    const record = bytes.subarray(offsets[index], offsets[index + 1])
    const line = texts.rows[index]! - firstRow
    const poison = retry.poison.find(it => status === POISONED && it.record === index)
    const code = poison?.code ?? LINE_STATUSES[status]!
    const message = poison?.message ?? TOKEN_FAULTS[code] ?? code
    found.push({ code, message, line, byteOffset: 0, record })
  }
  const faults = new FaultPacker(0)
  for (const fault of found.toSorted((a, b) => a.line - b.line)) faults.add(fault)
  const documents = documentsOf(packed, slot)
  return {
    byteOffset: 0,
    textBytes: 0,
    byteLength,
    lineCount: rows,
    places: undefined,
    faults: found.length === 0 ? NO_FAULTS : faults.packed(),
    documents,
  }
}

function replyFor(task: RangeTask, { range, lines }: WorkedRange): RangeReply {
  const { lineStarts, lineEnds, statuses } = lines
  const path = packing?.path ?? []
  const slot = new Slot(task.slot)
  // A line that kills the tokenizer still belongs in the index; one that kills the validation does not.
  const isValid = (status: number): boolean =>
    status === 0 || (status === POISONED ? packing !== null : status >= FIRST_FIELD_STATUS)
  const allValid = task.index && statuses.every(isValid)
  const placesOf = (values: Uint32Array): Uint32Array =>
    slot.put(allValid ? values : values.filter((_, line) => isValid(statuses[line]!)))
  const faults = new FaultPacker(range.origin)
  for (let line = 0; line < statuses.length; line++) {
    if (statuses[line] === 0) continue
    const [start, end] = [lineStarts[line]!, lineEnds[line]!]
    faults.add(
      statuses[line] === POISONED
        ? poisonFault(range, start, end, line, task.retry)
        : faultOf(range, start, end, line, LINE_STATUSES[statuses[line]!]!, path),
    )
  }
  if (range.overlong) {
    faults.add({
      code: 'LINE_TOO_LONG',
      message: `the line is longer than ${task.part.maxLineBytes} bytes (max_line_bytes)`,
      line: statuses.length,
      byteOffset: range.origin + range.stop,
      record: range.bytes.subarray(range.stop, range.stop + 1024),
    })
  }
  return {
    byteOffset: range.origin,
    textBytes: range.textBytes,
    byteLength: range.stop - range.first,
    lineCount: statuses.length + (range.overlong ? 1 : 0),
    documents: 'tokens' in lines ? documentsOf(lines, slot) : undefined,
    places: task.index ? { starts: placesOf(lineStarts), ends: placesOf(lineEnds) } : undefined,
    faults: faults.packed(),
  }
}

const TOKEN_FAULTS: Partial<Record<RangeFault['code'], string>> = {
  DOCUMENT_EMPTY: 'the document has no tokens',
  TOKEN_TOO_WIDE: 'a token id of the document does not fit: increase token_bytes',
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
    record: bytes.subarray(start, end),
  }
}

function poisonFault(
  { bytes, origin }: LoadedRange,
  start: number,
  end: number,
  line: number,
  retry: RetryMode,
): RangeFault {
  const { code, message } = retry.poison.find(({ record }) => record === line)!
  return { code, message, line, byteOffset: origin + start, record: bytes.subarray(start, end) }
}

function documentsOf({ tokens, lengths, statuses }: PackedTexts, slot: Slot): RangeReply['documents'] {
  const allValid = statuses.every(status => status === 0)
  return {
    tokens: slot.put(tokens),
    lengths: slot.put(allValid ? lengths : lengths.filter((_, line) => statuses[line] === 0)),
  }
}

/** Copies results out of the kernel's memory, which is reused, into the memory of a task. */
class Slot {
  private readonly memory: SharedArrayBuffer
  private end = 0

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
  }

  /** Values that are in the memory already stay where they are: they must be the first. */
  put<Values extends TokenArray>(values: Values): Values {
    if (values.buffer === this.memory) {
      this.end = values.byteOffset + values.byteLength
      return values
    }
    const start = (this.end + 3) & ~3
    if (start + values.byteLength > this.memory.byteLength) return values.slice() as Values
    this.end = start + values.byteLength
    const View = values.constructor as new (buffer: SharedArrayBuffer, offset: number, length: number) => Values
    const copy = new View(this.memory, start, values.length)
    copy.set(values)
    return copy
  }
}
