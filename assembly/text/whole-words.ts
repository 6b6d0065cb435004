// Tokens of new words: of the host, of words that are one token regardless of the merges (`ignore_merges`), or merged. And
// the hash of words.
import { MERGES, note } from './instrument'
import { HASH, HASH2, merge, NONE } from './merge'

/** Writes the tokens of a word to `out`; returns their number. An exception of the host ends the call of the kernel. */
// @ts-ignore: decorator
@external('env', 'encodeWord')
declare function encodeWord(word: usize, length: u32, out: usize): u32

let areWordsForHost: bool = false

/** Leaves all words to the host. */
export function leaveWordsToHost(): void {
  areWordsForHost = true
}

/** Merges a word, or returns its own token if it has one and merges are ignored. */
export function mergeWord<T>(word: usize, length: u32, out: usize): u32 {
  note(MERGES)
  if (areWordsForHost) return encodeWord(word, length, out)
  const token = wholeWords == 0 ? NONE : wholeWord(word, length)
  if (token == NONE) return merge<T>(word, length, out)
  store<T>(out, <T>token)
  return 1
}

// Open-addressing table of u32: the number of the word, above it bits of its hash; all ones if empty. Vocabularies
// without `ignore_merges` have no table: finding the words that their merges make one token takes as long as merging them on
// first use.
let wholeWords: usize = 0
let wholeShift: u64 = 0
let wholeMask: u32 = 0
let numberMask: u32 = 0
let wholeTexts: usize = 0
let wholeOffsets: usize = 0
let wholeIds: usize = 0

/**
 * Adds the vocabulary: word i is texts + offsets[i] up to offsets[i + 1], token ids[i]; the arrays must stay in place.
 * `table` has room for 2^slotBits slots, more than there are words.
 */
export function setWholeWords(texts: usize, offsets: usize, ids: usize, count: u32, table: usize, slotBits: u32): void {
  memory.fill(table, 0xff, <usize>4 << slotBits)
  wholeWords = table
  wholeShift = 64 - <u64>slotBits
  wholeMask = (1 << slotBits) - 1
  numberMask = (1 << (32 - clz(count))) - 1
  wholeTexts = texts
  wholeOffsets = offsets
  wholeIds = ids
  for (let number: u32 = 0; number < count; number++) {
    const start = load<u32>(offsets + (<usize>number << 2))
    const length = load<u32>(offsets + (<usize>number << 2), 4) - start
    if (length == 0) continue
    const hash = hashOf(texts + start, length)
    let slot = <u32>(hash >> wholeShift)
    while (load<u32>(table + (<usize>slot << 2)) != NONE) slot = (slot + 1) & wholeMask
    store<u32>(table + (<usize>slot << 2), wholeBits(hash) | number)
  }
}

// @ts-ignore: decorator
@inline
function wholeBits(hash: u64): u32 {
  return <u32>(hash >> (wholeShift - 32)) & ~numberMask
}

function wholeWord(word: usize, length: u32): u32 {
  const hash = hashOf(word, length)
  let slot = <u32>(hash >> wholeShift)
  while (true) {
    const entry = load<u32>(wholeWords + (<usize>slot << 2))
    if (entry == NONE) return NONE
    const number = entry & numberMask
    if (number == (entry ^ wholeBits(hash))) {
      const at = <usize>number << 2
      const start = load<u32>(wholeOffsets + at)
      const isSame = load<u32>(wholeOffsets + at, 4) - start == length && memory.compare(wholeTexts + start, word, length) == 0
      if (isSame) return load<u32>(wholeIds + at)
    }
    slot = (slot + 1) & wholeMask
  }
}

/** Never 0, which marks an empty slot. */
export function hashOf(word: usize, length: u32): u64 {
  let hash: u64 = length
  let at: u32 = 0
  for (; at + 8 <= length; at += 8) {
    hash = (hash ^ load<u64>(word + at)) * HASH
    hash ^= hash >> 32
  }
  if (at < length) {
    hash = (hash ^ (load<u64>(word + at) << (<u64>(8 - (length - at)) << 3))) * HASH
    hash ^= hash >> 32
  }
  hash *= HASH2
  hash ^= hash >> 29
  return hash == 0 ? 1 : hash
}
