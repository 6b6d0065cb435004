/**
 * A vocabulary whose tokens lie as code units in one array, with an index of hashes: made and searched without a string
 * and an entry of a Map for each token, of which there are up to 250,000.
 */

/** What is asked of a vocabulary; a Map is one, too. */
export interface Vocabulary {
  readonly size: number
  get(token: string): number | undefined
  has(token: string): boolean
  keys(): Iterable<string>
  /** The ids. */
  values(): Iterable<number>
  [Symbol.iterator](): Iterator<[string, number]>
}

/** Finds tokens, no two of them the same, by open addressing. */
interface VocabularyIndex {
  /** A token's number + 1, or 0. */
  readonly slots: Uint32Array
  /** Of each token. */
  readonly hashes: Uint32Array
}

/** Logarithm of the number of slots for so many tokens: at least two for each. */
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
  /** The token that is asked for. */
  private asked = new Uint16Array(64)
  /** Whether two tokens are the same. */
  readonly hasRepeats: boolean

  /** @param index made of the same tokens elsewhere */
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

  /** Id of the token that is spelled units[start, end), or -1. */
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

  /** The slot of the token spelled so, or the empty one where it would be. */
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

/** The same tokens, wherever they come from. */
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
