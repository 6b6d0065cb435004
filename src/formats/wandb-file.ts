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

const BLOCK_BYTES = 32_768
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

/** Encodes the file sequentially: each call returns the bytes to append next. */
export class WandbFileEncoder {
  private position = 0
  private recordNumber = 0

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
