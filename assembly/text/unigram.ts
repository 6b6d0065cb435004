// Unigram: the path of pieces with the highest total score. TypeScript twin: TypeScriptSegmenter in
// src/tokenizer/engine/unigram-model.ts; the trie is that of src/tokenizer/engine/byte-trie.ts.
//
// Per position of the text, 16 bytes:
//   0  f64 score of the best path to it
//   8  u32 start of its last piece, or NONE
//   12 u32 id of that piece
import { NONE } from './merge'
import { sequenceLength } from './utf8'

const IS_END: u32 = 0x80000000
const NODE_MASK: u32 = 0x7fffff
const FOLLOWING_SHIFT: u32 = 23
/** Flags of the root, which may be followed by any byte. */
const ROOT: u32 = 0xff << FOLLOWING_SHIFT
const HASH: u32 = 0x9e3779b1

let slots: usize = 0
let slotShift: u32 = 0
let slotBytesMask: usize = 0
let ends: usize = 0
let scores: usize = 0
let unknownId: u32 = NONE
let unknownScore: f64 = 0

export function setUnigram(
  trieSlots: usize, shift: u32, trieEnds: usize, pieceScores: usize, idOfUnknown: u32, scoreOfUnknown: f64,
): void {
  slots = trieSlots
  slotShift = shift
  slotBytesMask = (<usize>8 << <usize>(32 - shift)) - 1
  ends = trieEnds
  scores = pieceScores
  unknownId = idOfUnknown
  unknownScore = scoreOfUnknown
}

/**
 * Segments the valid UTF-8 [text, text + length) and writes start and id of each piece, from the last one on, u32 each, to
 * `path`; returns their number, or -1 if the best path needs an unknown token that does not exist. `positions` has room for
 * length + 1 of them.
 */
export function segment(text: usize, length: u32, positions: usize, path: usize): i32 {
  // Locals: the compiler reloads globals after each store.
  const trie = slots
  const shift = slotShift
  const mask = slotBytesMask
  const idsOfNodes = ends
  const scoresOfIds = scores
  for (let at: u32 = 0; at <= length; at++) store<u32>(positions + (<usize>at << 4), NONE, 8)
  store<f64>(positions, 0)
  for (let start: u32 = 0; start < length; ) {
    const next = start + <u32>sequenceLength(load<u8>(text + start))
    const before = load<f64>(positions + (<usize>start << 4))
    let hasSingle = false
    let node = ROOT
    for (let end = start; end < length; ) {
      const byte = <u32>load<u8>(text + end++)
      if (((node >> (FOLLOWING_SHIFT + (byte & 7))) & 1) == 0) break
      node = childOf(trie, shift, mask, ((node & NODE_MASK) << 8) | byte)
      if (node == 0) break
      if (node < IS_END) continue
      const id = load<u32>(idsOfNodes + (<usize>(node & NODE_MASK) << 2))
      offer(positions + (<usize>end << 4), before + load<f64>(scoresOfIds + (<usize>id << 3)), start, id)
      hasSingle = hasSingle || end == next
    }
    if (!hasSingle) {
      const isBest = offer(positions + (<usize>next << 4), before + unknownScore, start, unknownId)
      if (isBest && unknownId == NONE) return -1
    }
    start = next
  }
  let count: i32 = 0
  for (let end = length; end > 0; count++) {
    const position = positions + (<usize>end << 4)
    const entry = path + (<usize>count << 3)
    end = load<u32>(position, 8)
    store<u32>(entry, end)
    store<u32>(entry, load<u32>(position, 12), 4)
  }
  return count
}

/** The child of a node with its flags, or 0; the key is the node << 8 | the byte. */
// @ts-ignore: decorator
@inline
function childOf(trie: usize, shift: u32, mask: usize, key: u32): u32 {
  let slot = <usize>((key * HASH) >> shift) << 3
  while (true) {
    const entry = load<u64>(trie + slot)
    if (<u32>entry == key || entry == 0) return <u32>(entry >> 32)
    slot = (slot + 8) & mask
  }
}

/** Records a path to a position if none is better; returns whether it did. */
// @ts-ignore: decorator
@inline
function offer(position: usize, score: f64, start: u32, id: u32): bool {
  if (load<u32>(position, 8) != NONE && score <= load<f64>(position)) return false
  store<f64>(position, score)
  store<u32>(position, start, 8)
  store<u32>(position, id, 12)
  return true
}
