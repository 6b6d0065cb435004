/**
 * Faults of a range as a worker sends them: a few arrays instead of an object per fault. A range can have 100,000 faulty
 * lines, whose objects, each with a buffer of its own, would take hundreds of megabytes.
 */
import type { RecordFault } from '../../formats/extract.js'

/** `line` is relative to the range: its first line is 0. */
export type RangeFault = Omit<RecordFault, 'file'>

/** Line, code, message, byte offset and end of the record in `records`; the code and message as indices. */
const FIELDS = 5

export interface PackedFaults {
  readonly count: number
  readonly codes: readonly RangeFault['code'][]
  readonly messages: readonly string[]
  readonly fields: Uint32Array
  /** The bytes of all records, concatenated. */
  readonly records: Uint8Array
}

/** Collects faults in a worker. */
export class FaultPacker {
  private readonly origin: number
  private readonly codes = new Map<RangeFault['code'], number>()
  private readonly messages = new Map<string, number>()
  private fields = new Uint32Array(FIELDS * 8)
  private records = new Uint8Array(256)
  private count = 0
  private recordsEnd = 0

  /** @param origin file offset to which byte offsets are stored relatively */
  constructor(origin: number) {
    this.origin = origin
  }

  /** Copies the record's bytes. */
  add({ line, code, message, byteOffset, record }: RangeFault): void {
    const start = this.recordsEnd
    this.recordsEnd += record.byteLength
    this.records = withCapacity(this.records, this.recordsEnd)
    this.records.set(record, start)
    const at = FIELDS * this.count++
    this.fields = withCapacity(this.fields, at + FIELDS)
    const codeIndex = indexOf(this.codes, code)
    this.fields.set([line, codeIndex, indexOf(this.messages, message), byteOffset - this.origin, this.recordsEnd], at)
  }

  packed(): PackedFaults {
    return {
      count: this.count,
      codes: [...this.codes.keys()],
      messages: [...this.messages.keys()],
      fields: this.fields.slice(0, FIELDS * this.count),
      records: this.records.slice(0, this.recordsEnd),
    }
  }
}

/** The faults in order, one object at a time. @param origin as given to the packer */
export function* unpackFaults(packed: PackedFaults, origin: number): Generator<RangeFault> {
  let start = 0
  for (let fault = 0; fault < packed.count; fault++) {
    const [line, code, message, offset, end] = packed.fields.subarray(FIELDS * fault, FIELDS * (fault + 1))
    yield {
      line: line!,
      code: packed.codes[code!]!,
      message: packed.messages[message!]!,
      byteOffset: origin + offset!,
      record: packed.records.subarray(start, end),
    }
    start = end!
  }
}

function indexOf<Value>(known: Map<Value, number>, value: Value): number {
  const index = known.get(value) ?? known.size
  known.set(value, index)
  return index
}

/** The array itself, or a larger copy. */
function withCapacity<Values extends Uint8Array | Uint32Array>(values: Values, length: number): Values {
  if (length <= values.length) return values
  const larger = new (values.constructor as new (length: number) => Values)(2 * length)
  larger.set(values)
  return larger
}
