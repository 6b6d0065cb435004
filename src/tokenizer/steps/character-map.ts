/**
 * SentencePiece's precompiled character map: the longest known prefix of the remaining text is replaced, repeatedly. The
 * prefixes are stored in a double-array trie.
 *
 *   offset         bytes  meaning (little-endian)
 *   0              4      bytes of the trie, t
 *   4              t      units of 32 bits: label in bits 0-7 (31: a value), leaf in bit 8, offset in bits 10-30 << (bit 9 ? 8 : 0)
 *   4 + t          rest   replacements, each ended by a zero byte; a value is an offset here
 */
import { PenstockError } from '../../errors.js'
import { sequenceLength } from '../patterns/pretokenize.js'

export class CharacterMap {
  private readonly units: Uint32Array
  private readonly replacements: Uint8Array
  private readonly protectedTexts: readonly string[]
  private readonly encoder = new TextEncoder()
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  /** `protectedTexts` are not changed. */
  constructor(map: Uint8Array, protectedTexts: readonly string[]) {
    const trieBytes = map.length === 0 ? 0 : new DataView(map.buffer, map.byteOffset).getUint32(0, true)
    if (trieBytes % 4 !== 0 || (map.length > 0 && trieBytes + 4 > map.length)) {
      throw new PenstockError('TOKENIZER_INVALID', 'the precompiled character map is truncated')
    }
    this.units = new Uint32Array(new Uint8Array(map.subarray(4, 4 + trieBytes)).buffer)
    this.replacements = map.subarray(4 + trieBytes)
    this.protectedTexts = [...protectedTexts].filter(text => text !== '').sort((a, b) => b.length - a.length)
  }

  /** Replacement of each prefix of the text, in order. */
  *parts(text: string): Generator<string> {
    const bytes = this.encoder.encode(text)
    const kept = this.protectedTexts.map(keep => this.encoder.encode(keep))
    for (let at = 0; at < bytes.length; ) {
      const isolated = kept.find(keep => keep.every((byte, i) => bytes[at + i] === byte))
      const match = isolated === undefined ? this.longestPrefix(bytes, at) : undefined
      const length = isolated?.length ?? match?.length ?? sequenceLength(bytes[at]!)
      yield match === undefined ? this.decoder.decode(bytes.subarray(at, at + length)) : this.replacementAt(match.value)
      at += length
    }
  }

  /** Replacement of the shortest known prefix of the text, as in the Rust library; `undefined` if none is known. */
  replacementOf(text: string): string | undefined {
    const { units } = this
    let node = offsetOf(units[0] ?? 0)
    for (const byte of this.encoder.encode(text)) {
      node ^= byte
      const unit = units[node]
      if (byte === 0 || unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined
      node ^= offsetOf(unit)
      if (((unit >>> 8) & 1) === 1) return this.replacementAt((units[node] ?? 0) & 0x7fffffff)
    }
    return undefined
  }

  /** Whether the text continues to longer known texts, and no part of its start is known itself. */
  isOpenPrefix(text: string): boolean {
    const { units } = this
    let node = offsetOf(units[0] ?? 0)
    for (const byte of this.encoder.encode(text)) {
      node ^= byte
      const unit = units[node]
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return false
      node ^= offsetOf(unit)
      if (((unit >>> 8) & 1) === 1) return false
    }
    return units.length > 0
  }

  private longestPrefix(bytes: Uint8Array, start: number): { value: number; length: number } | undefined {
    const { units } = this
    let longest: { value: number; length: number } | undefined
    let node = offsetOf(units[0] ?? 0)
    for (let at = start; at < bytes.length && units.length > 0; at++) {
      node ^= bytes[at]!
      const unit = units[node]
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== bytes[at]) break
      node ^= offsetOf(unit)
      if (((unit >>> 8) & 1) === 1) longest = { value: (units[node] ?? 0) & 0x7fffffff, length: at - start + 1 }
    }
    return longest
  }

  private replacementAt(offset: number): string {
    const end = this.replacements.indexOf(0, offset)
    return this.decoder.decode(this.replacements.subarray(offset, end < 0 ? undefined : end))
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6)
}
