/**
 * Reads tables of FlatBuffers, the encoding of Arrow's metadata.
 *
 * | part | layout, little-endian |
 * | --- | --- |
 * | buffer | u32 offset of the root table |
 * | table | i32 distance back to its vtable, then the values of its slots |
 * | vtable | u16 size of the vtable, u16 size of the table, then for each slot a u16 offset in the table, 0 if absent |
 * | vector | u32 count, then the elements; of tables, u32 offsets relative to themselves |
 *
 * Source: flatbuffers.dev, "Internals". Every access is checked by DataView, which throws a RangeError outside the buffer.
 */

const decoder = new TextDecoder()

export class FlatTable {
  private readonly view: DataView
  private readonly at: number

  private constructor(view: DataView, at: number) {
    this.view = view
    this.at = at
  }

  static root(bytes: Uint8Array): FlatTable {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return new FlatTable(view, view.getUint32(0, true))
  }

  hasSlot(slot: number): boolean {
    return this.slot(slot) !== undefined
  }

  byte(slot: number): number {
    const at = this.slot(slot)
    return at === undefined ? 0 : this.view.getUint8(at)
  }

  short(slot: number): number {
    const at = this.slot(slot)
    return at === undefined ? 0 : this.view.getInt16(at, true)
  }

  int(slot: number): number {
    const at = this.slot(slot)
    return at === undefined ? 0 : this.view.getInt32(at, true)
  }

  /** Beyond 2^53 the value is inexact: callers compare it with sizes. */
  long(slot: number): number {
    const at = this.slot(slot)
    return at === undefined ? 0 : Number(this.view.getBigInt64(at, true))
  }

  text(slot: number): string {
    const found = this.vector(slot)
    if (found === undefined) return ''
    const { byteOffset, buffer } = this.view
    // The view checks the end.
    if (found.count > 0) this.view.getUint8(found.at + found.count - 1)
    return decoder.decode(new Uint8Array(buffer, byteOffset + found.at, found.count))
  }

  table(slot: number): FlatTable | undefined {
    const at = this.slot(slot)
    return at === undefined ? undefined : new FlatTable(this.view, at + this.view.getUint32(at, true))
  }

  tables(slot: number): FlatTable[] {
    const found = this.vector(slot)
    if (found === undefined) return []
    return Array.from({ length: found.count }, (_, index) => {
      const at = found.at + 4 * index
      return new FlatTable(this.view, at + this.view.getUint32(at, true))
    })
  }

  /** The longs of a vector of longs, or of structs of `width` longs. */
  longs(slot: number, width = 1): number[] {
    const found = this.vector(slot)
    if (found === undefined) return []
    const count = found.count * width
    return Array.from({ length: count }, (_, index) => Number(this.view.getBigInt64(found.at + 8 * index, true)))
  }

  private slot(slot: number): number | undefined {
    const vtable = this.at - this.view.getInt32(this.at, true)
    const entry = 4 + 2 * slot
    if (entry >= this.view.getUint16(vtable, true)) return undefined
    const offset = this.view.getUint16(vtable + entry, true)
    return offset === 0 ? undefined : this.at + offset
  }

  private vector(slot: number): { readonly at: number; readonly count: number } | undefined {
    const at = this.slot(slot)
    if (at === undefined) return undefined
    const start = at + this.view.getUint32(at, true)
    const count = this.view.getUint32(start, true)
    // Every element has at least a byte: a larger count is damage, and must not be allocated.
    if (count > this.view.byteLength) throw new RangeError('a vector reaches past the end of the metadata')
    return { at: start + 4, count }
  }
}
