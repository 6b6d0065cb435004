/**
 * The file of an offline W&B run: a 7-byte header, then a log in blocks of 32,768 bytes (the format of LevelDB's log).
 * A record that does not fit into the rest of its block is split; a rest of less than 7 bytes is filled with zeros.
 *
 * | offset | bytes | type   | meaning                                                            |
 * | ------ | ----- | ------ | ------------------------------------------------------------------ |
 * | file 0 | 4     | ascii  | `:W&B`                                                             |
 * | file 4 | 2     | uint16 | 0xBEE1                                                             |
 * | file 6 | 1     | uint8  | version 0                                                          |
 * | 0      | 4     | uint32 | CRC-32 of the type byte and the data                               |
 * | 4      | 2     | uint16 | length n of the data                                               |
 * | 6      | 1     | uint8  | type: 1 full record, 2 first part, 3 middle part, 4 last part       |
 * | 7      | n     | bytes  | a protobuf `wandb_internal.Record`, or a part of one               |
 *
 * All numbers are little-endian. Source: wandb/proto/wandb_internal.proto and the store of the `wandb` package.
 */
import { concatBytes } from './bytes.js'
import { crc32 } from './crc32.js'
import { intField, messageField, stringField } from './write-protobuf.js'

export const BLOCK_BYTES = 32_768
const MAGIC_BYTES = 7
const HEADER_BYTES = 7
const WHOLE = 1
const FIRST = 2
const MIDDLE = 3
const LAST = 4

/** Field numbers of `Record`. */
const HISTORY = 2
const SUMMARY = 3
const RUN = 17
const EXIT = 18
const FINAL = 20
const HEADER = 21
const FOOTER = 22

/** Names, configuration and start of a run; times in milliseconds since 1970. */
export interface WandbRun {
  readonly id: string
  readonly project: string
  readonly entity?: string
  readonly displayName?: string
  readonly host: string
  readonly startTime: number
  readonly config: Readonly<Record<string, unknown>>
}

/** End of the whole records of a file. */
export interface FileEnd {
  readonly position: number
  readonly records: number
}

/** A run as its file describes it, up to a step. */
export interface RecordedRun {
  readonly id: string
  readonly project: string
  readonly displayName: string
  /** The latest value of each metric, with `_step`, `_runtime` and `_timestamp` of the last row. */
  readonly summary: Readonly<Record<string, unknown>>
  /** End of the last row that is kept. */
  readonly end: FileEnd
}

/** Encodes the file sequentially: each call returns the bytes to append next. */
export class WandbFileEncoder {
  private position: number
  private recordNumber: number

  /** @param end of the records that the file has, to continue it */
  constructor(end: FileEnd = { position: 0, records: 0 }) {
    this.position = end.position
    this.recordNumber = end.records
  }

  /** @param producer version of the `wandb` package whose format is written */
  start(run: WandbRun, producer: string): Uint8Array {
    const magic = Uint8Array.from([...':W&B'].map(character => character.charCodeAt(0)).concat([0xe1, 0xbe, 0]))
    this.position = magic.byteLength
    const version = messageField(1, stringField(1, producer), stringField(2, '0.0.1'))
    const optional = (field: number, text: string | undefined) => (text === undefined ? [] : [stringField(field, text)])
    return concatBytes([
      magic,
      this.record(messageField(HEADER, version)),
      this.record(
        messageField(
          RUN,
          stringField(1, run.id),
          ...optional(2, run.entity),
          stringField(3, run.project),
          messageField(4, ...items(1, run.config)),
          ...optional(8, run.displayName),
          stringField(13, run.host),
          messageField(17, ...timestamp(run.startTime)),
        ),
      ),
    ])
  }

  /** One row of the history; the values include `_step`, `_runtime` and `_timestamp`. */
  history(step: number, values: Readonly<Record<string, unknown>>): Uint8Array {
    return this.record(messageField(HISTORY, ...items(1, values), messageField(2, intField(1, step))))
  }

  /** End of the run: the summary and the exit code. @param runtime in whole seconds */
  end(summary: Readonly<Record<string, unknown>>, exitCode: number, runtime: number): Uint8Array {
    return concatBytes([
      this.record(messageField(SUMMARY, ...items(1, summary))),
      this.record(messageField(EXIT, intField(1, exitCode), intField(2, runtime))),
      this.record(messageField(FINAL)),
      this.record(messageField(FOOTER)),
    ])
  }

  private record(content: Uint8Array): Uint8Array {
    return this.cutToBlocks(concatBytes([intField(1, ++this.recordNumber), content]))
  }

  private cutToBlocks(data: Uint8Array): Uint8Array {
    const pieces: Uint8Array[] = []
    let done = 0
    do {
      let room = BLOCK_BYTES - (this.position % BLOCK_BYTES)
      if (room < HEADER_BYTES) {
        pieces.push(new Uint8Array(room))
        this.position += room
        room = BLOCK_BYTES
      }
      const end = Math.min(data.byteLength, done + room - HEADER_BYTES)
      const piece = framed(data.subarray(done, end), pieceType(done === 0, end === data.byteLength))
      pieces.push(piece)
      this.position += piece.byteLength
      done = end
    } while (done < data.byteLength)
    return concatBytes(pieces)
  }
}

/**
 * Reads the start of a run and its rows up to a step. Later rows, the end of the run and damaged records are left out.
 * @param blocks the file in blocks of BLOCK_BYTES
 * @returns undefined if the file has no start of a run
 */
export function readRun(blocks: Iterable<Uint8Array>, lastStep: number): RecordedRun | undefined {
  let run: Omit<RecordedRun, 'summary' | 'end'> | undefined
  let end: FileEnd = { position: 0, records: 0 }
  const summary: Record<string, unknown> = {}
  for (const { data, position } of recordsIn(blocks)) {
    const fields = fieldsOf(data)
    const start = fields.get(RUN)?.[0]
    const row = fields.get(HISTORY)?.[0]
    if (start !== undefined) {
      const text = (field: number): string => textOf(fieldsOf(start).get(field)?.[0])
      run = { id: text(1), project: text(3), displayName: text(8) }
    } else if (row !== undefined) {
      const values = valuesOf(row)
      if (Number(values._step) > lastStep) break
      Object.assign(summary, values)
    } else if (!fields.has(HEADER)) break
    end = { position, records: end.records + 1 }
  }
  return run && { ...run, summary, end }
}

/** Whole records with the position after each, up to the first that is incomplete or damaged. */
function* recordsIn(blocks: Iterable<Uint8Array>): Generator<{ data: Uint8Array; position: number }> {
  let pieces: Uint8Array[] = []
  let start = 0
  for (const block of blocks) {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
    let at = start === 0 ? MAGIC_BYTES : 0
    while (at + HEADER_BYTES <= block.byteLength) {
      const next = at + HEADER_BYTES + view.getUint16(at + 4, true)
      const type = view.getUint8(at + 6)
      const data = block.slice(at + HEADER_BYTES, next)
      if (next > block.byteLength || view.getUint32(at, true) !== crc32(data, crc32(Uint8Array.of(type)))) return
      pieces.push(data)
      at = next
      if (type !== WHOLE && type !== LAST) continue
      yield { data: concatBytes(pieces), position: start + at }
      pieces = []
    }
    start += BLOCK_BYTES
  }
}

/** Fields of a message that are messages or texts, by number; others are skipped. */
function fieldsOf(message: Uint8Array): Map<number, Uint8Array[]> {
  const fields = new Map<number, Uint8Array[]>()
  let at = 0
  const varint = (): number => {
    let [value, scale] = [0, 1]
    for (;;) {
      const byte = message[at++] ?? 0
      value += (byte & 0x7f) * scale
      scale *= 128
      if (byte < 0x80) return value
    }
  }
  while (at < message.byteLength) {
    const tag = varint()
    const isNested = (tag & 7) === 2
    const value = varint()
    if (!isNested) continue
    const field = tag >>> 3
    fields.set(field, [...(fields.get(field) ?? []), message.subarray(at, at + value)])
    at += value
  }
  return fields
}

const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

/** Values of a row. */
function valuesOf(row: Uint8Array): Record<string, unknown> {
  const items = (fieldsOf(row).get(1) ?? []).map(fieldsOf)
  return Object.fromEntries(items.map(item => [textOf(item.get(1)?.[0]), fromPythonJson(textOf(item.get(16)?.[0]))]))
}

const fromPythonJson = (text: string): unknown => (/^(NaN|-?Infinity)$/.test(text) ? Number(text) : JSON.parse(text))

function pieceType(isFirst: boolean, isLast: boolean): number {
  if (isFirst) return isLast ? WHOLE : FIRST
  return isLast ? LAST : MIDDLE
}

function framed(data: Uint8Array, type: number): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES)
  const view = new DataView(header.buffer)
  view.setUint32(0, crc32(data, crc32(Uint8Array.of(type))), true)
  view.setUint16(4, data.byteLength, true)
  view.setUint8(6, type)
  return concatBytes([header, data])
}

/** Items of config, history and summary share one format: { 1: key, 16: value as JSON }. */
function items(field: number, values: Readonly<Record<string, unknown>>): Uint8Array[] {
  return Object.entries(values).map(([key, value]) =>
    messageField(field, stringField(1, key), stringField(16, pythonJson(value))),
  )
}

/** JSON with non-finite numbers as Python writes them, which W&B reads. */
function pythonJson(value: unknown): string {
  if (typeof value !== 'number' || Number.isFinite(value)) return JSON.stringify(value)
  if (Number.isNaN(value)) return 'NaN'
  return value > 0 ? 'Infinity' : '-Infinity'
}

function timestamp(ms: number): [Uint8Array, Uint8Array] {
  return [intField(1, Math.floor(ms / 1000)), intField(2, Math.round((ms % 1000) * 1e6))]
}
