/**
 * A vocabulary stored as code units in one array with a hash index: built and searched without a string and a Map entry for
 * each of up to 250,000 tokens.
 */

/** Read access to a vocabulary; a Map implements it. */
export interface Vocabulary {
  readonly size: number
  get(token: string): number | undefined
  has(token: string): boolean
  keys(): Iterable<string>
  /** All ids. */
  values(): Iterable<number>
  [Symbol.iterator](): Iterator<[string, number]>
}

/** Hash index of distinct tokens, with open addressing. */
interface VocabularyIndex {
  /** Token number + 1, or 0. */
  readonly slots: Uint32Array
  /** Hash of each token. */
  readonly hashes: Uint32Array
}

/** log2 of the number of slots for this many tokens: at least two slots per token. */
export const slotBitsFor = (tokens: number): number => Math.ceil(Math.log2(tokens * 2 + 2))

/** The highest id, or -1. */
export function highestIdOf(vocabulary: Vocabulary): number {
  let highest = -1
  if (vocabulary instanceof UnitVocabulary) {
    const { ids } = vocabulary
    for (let i = 0; i < ids.length; i++) if (ids[i]! > highest) highest = ids[i]!
  } else for (const id of vocabulary.values()) highest = Math.max(highest, id)
  return highest
}

export class UnitVocabulary implements Vocabulary {
  /** Token i is units[offsets[i], offsets[i + 1]) and has the id ids[i]. */
  readonly units: Uint16Array
  readonly offsets: Uint32Array
  readonly ids: Uint32Array
  private readonly slots: Uint32Array
  private readonly hashes: Uint32Array
  /** Code units of the token being looked up. */
  private asked = new Uint16Array(64)
  /** Whether some token occurs twice. */
  readonly hasRepeats: boolean

  /** @param index of the same tokens, if already built */
  constructor(units: Uint16Array, offsets: Uint32Array, ids: Uint32Array, index?: VocabularyIndex) {
    this.units = units
    this.offsets = offsets
    this.ids = ids
    this.slots = index?.slots ?? new Uint32Array(1 << slotBitsFor(ids.length))
    this.hashes = index?.hashes ?? new Uint32Array(ids.length)
    this.hasRepeats = index === undefined && this.fill()
  }

  get size(): number {
    return this.ids.length
  }

  get(token: string): number | undefined {
    if (this.asked.length < token.length) this.asked = new Uint16Array(token.length * 2)
    for (let i = 0; i < token.length; i++) this.asked[i] = token.charCodeAt(i)
    const id = this.idOf(this.asked, 0, token.length)
    return id < 0 ? undefined : id
  }

  has(token: string): boolean {
    return this.get(token) !== undefined
  }

  /** Id of the token spelled units[start, end), or -1. */
  idOf(units: Uint16Array, start: number, end: number): number {
    const number = this.slots[this.slotOf(units, start, end, hashOf(units, start, end))]!
    return number === 0 ? -1 : this.ids[number - 1]!
  }

  *keys(): Iterable<string> {
    for (let i = 0; i < this.size; i++) yield this.tokenAt(i)
  }

  values(): Iterable<number> {
    return this.ids
  }

  *[Symbol.iterator](): Iterator<[string, number]> {
    for (let i = 0; i < this.size; i++) yield [this.tokenAt(i), this.ids[i]!]
  }

  private tokenAt(number: number): string {
    return String.fromCharCode(...this.units.subarray(this.offsets[number], this.offsets[number + 1]))
  }

  private fill(): boolean {
    const { units, offsets, hashes, slots } = this
    let hasRepeats = false
    for (let number = 0; number < hashes.length; number++) {
      const start = offsets[number]!
      const end = offsets[number + 1]!
      const hash = hashOf(units, start, end)
      const slot = this.slotOf(units, start, end, hash)
      if (slots[slot] !== 0) hasRepeats = true
      hashes[number] = hash
      slots[slot] = number + 1
    }
    return hasRepeats
  }

  /** The slot of the token with this spelling, or the empty slot for it. */
  private slotOf(units: Uint16Array, start: number, end: number, hash: number): number {
    const { slots, hashes } = this
    const mask = slots.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = slots[slot]! - 1
      if (number < 0 || (hashes[number] === hash && this.isToken(number, units, start, end))) return slot
    }
  }

  private isToken(number: number, units: Uint16Array, start: number, end: number): boolean {
    const from = this.offsets[number]!
    if (this.offsets[number + 1]! - from !== end - start) return false
    for (let i = start; i < end; i++) if (units[i] !== this.units[from + i - start]) return false
    return true
  }
}

/** The tokens of any vocabulary as code units. */
export function unitsOf(vocabulary: Vocabulary): Pick<UnitVocabulary, 'units' | 'offsets' | 'ids'> {
  if (vocabulary instanceof UnitVocabulary) return vocabulary
  let length = 0
  for (const token of vocabulary.keys()) length += token.length
  const units = new Uint16Array(length)
  const offsets = new Uint32Array(vocabulary.size + 1)
  let at = 0
  let number = 0
  for (const token of vocabulary.keys()) {
    for (let i = 0; i < token.length; i++) units[at++] = token.charCodeAt(i)
    offsets[++number] = at
  }
  return { units, offsets, ids: Uint32Array.from(vocabulary.values()) }
}

function hashOf(units: Uint16Array, start: number, end: number): number {
  let hash = end - start
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ units[i]!, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}
