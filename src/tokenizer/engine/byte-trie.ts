/**
 * Trie over bytes in one hash table with open addressing, so that the kernel can use it as it is: a slot has a key, the node
 * and the byte that follows it, and the child.
 */
import { PenstockError } from '../../errors.js'

/** Set in a child at which a text ends. */
export const IS_END = 0x80000000
/** The node of a child. */
export const NODE_MASK = 0x7fffff
const MAX_NODES = NODE_MASK + 1
/** Above the node, a bit for each of the low three bits of the bytes that follow it: spares most look-ups that fail. */
const FOLLOWING_SHIFT = 23
/** Multiplier of the hash. */
const HASH = 0x9e3779b1

export interface ByteTrie {
  /** Two integers per slot: node << 8 | byte, and the child with its flags (0: empty, the root is no child). */
  readonly slots: Uint32Array
  /** Right shift of the 32-bit product of key and HASH that gives the slot. */
  readonly shift: number
  /** Number of the text that ends at each node. */
  readonly ends: Uint32Array
}

/** The child of a node with its flags, or 0. */
export function childOf({ slots, shift }: ByteTrie, node: number, byte: number): number {
  const key = ((node << 8) | byte) >>> 0
  const mask = slots.length - 1
  for (let slot = (Math.imul(key, HASH) >>> shift) * 2; ; slot = (slot + 2) & mask) {
    if (slots[slot + 1] === 0) return 0
    if (slots[slot] === key) return slots[slot + 1]!
  }
}

/** Leaves out the empty text. @throws UNSUPPORTED if the trie would have too many nodes */
export function buildByteTrie(texts: ReadonlyMap<string, number>): ByteTrie {
  const builder = new TrieBuilder()
  const encoder = new TextEncoder()
  for (const [text, number] of texts) if (text !== '') builder.add(encoder.encode(text), number)
  return builder.trie()
}

class TrieBuilder {
  private bits = 12
  private slots = new Uint32Array(2 << this.bits)
  private ends = new Uint32Array(1 << 12)
  private nodes = 1

  add(text: Uint8Array, number: number): void {
    let node = 0
    let slot = 0
    for (const byte of text) {
      slot = this.slotFor(((node << 8) | byte) >>> 0)
      node = this.slots[slot + 1]! & NODE_MASK
    }
    this.slots[slot + 1] = (node | IS_END) >>> 0
    this.ends[node] = number
    if (this.nodes <= MAX_NODES) return
    throw new PenstockError('UNSUPPORTED', `the pieces of the vocabulary need more than ${MAX_NODES} nodes of a trie`)
  }

  trie(): ByteTrie {
    const { slots } = this
    const following = new Uint8Array(this.nodes)
    for (let slot = 0; slot < slots.length; slot += 2) {
      if (slots[slot + 1] !== 0) following[slots[slot]! >>> 8]! |= 1 << (slots[slot]! & 7)
    }
    for (let slot = 1; slot < slots.length; slot += 2) {
      if (slots[slot] !== 0)
        slots[slot] = (slots[slot]! | (following[slots[slot]! & NODE_MASK]! << FOLLOWING_SHIFT)) >>> 0
    }
    return { slots, shift: 32 - this.bits, ends: this.ends.slice(0, this.nodes) }
  }

  /** The slot of a key, which gets a child if it is new. */
  private slotFor(key: number): number {
    const slot = this.find(key)
    if (this.slots[slot + 1] !== 0) return slot
    this.slots[slot] = key
    this.slots[slot + 1] = this.nodes++
    if (this.nodes > this.ends.length) this.ends = grown(this.ends)
    if (this.nodes * 2 <= 1 << this.bits) return slot
    this.grow()
    return this.find(key)
  }

  private find(key: number): number {
    const mask = this.slots.length - 1
    let slot = (Math.imul(key, HASH) >>> (32 - this.bits)) * 2
    while (this.slots[slot + 1] !== 0 && this.slots[slot] !== key) slot = (slot + 2) & mask
    return slot
  }

  private grow(): void {
    const old = this.slots
    this.bits++
    this.slots = new Uint32Array(2 << this.bits)
    for (let at = 0; at < old.length; at += 2) {
      if (old[at + 1] === 0) continue
      const slot = this.find(old[at]!)
      this.slots[slot] = old[at]!
      this.slots[slot + 1] = old[at + 1]!
    }
  }
}

function grown(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(array.length * 2)
  larger.set(array)
  return larger
}
