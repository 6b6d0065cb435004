// Addresses of the tables that the host allocates and fills in linear memory; src/tokenizer/kernel/memory.ts lists them in
// the same order.

/** v128 per length 0..16: mask that keeps that many bytes; then a tag with the length in byte 15. */
export let LENGTH_MASKS: usize = 0
/** u32 per byte: its token. */
export let BYTE_IDS: usize = 0
/** u32 per pair of bytes (first in the low half): rank of their merge or NONE. */
export let BYTE_PAIR_RANKS: usize = 0
/** One bit per pair of bytes (first in the low half): whether some token contains them next to each other. */
export let INNER_PAIRS: usize = 0
/** u64 per rank: left token << 40 | right << 20 | resulting token. */
export let MERGES: usize = 0
/** u32 per slot, open addressing by pair of tokens: rank of the merge, above it bits of its hash; all ones if empty. */
export let PAIRS: usize = 0
export let PAIR_BYTES_MASK: usize = 0
/** 64 minus log2 of the number of groups of four slots. */
export let PAIR_SHIFT: u64 = 0
/** Mask of a rank. */
export let RANK_MASK: u32 = 0
/** Short words: buckets of two 32-byte entries, key and value; see words.ts. */
export let WORDS: usize = 0
/** 64 minus log2 of the number of buckets, which may be doubled until it is LEAST_WORD_SHIFT. */
export let WORD_SHIFT: u64 = 0
export let LEAST_WORD_SHIFT: u64 = 0
/** Medium words: lines of 64 bytes, key and value; see long-words.ts. */
export let MEDIUM_WORDS: usize = 0
/** 64 minus log2 of the number of lines. */
export let MEDIUM_SHIFT: u64 = 0
/** A bucket that is always empty. */
export let NOWHERE: usize = 0
/** Long words: 16-byte slots (hash u64, arena offset u32, bytes u16, tokens u16) and their arena. */
export let LONG_WORDS: usize = 0
export let LONG_MASK: u32 = 0
export let ARENA: usize = 0
export let ARENA_END: usize = 0
/** u32 starts of the words waiting for look-up; then their keys. */
export let STARTS: usize = 0
export let KEYS: usize = 0
/** Tokens and ranks of the short word being merged. */
export let SYMBOLS: usize = 0
/** u8 per code point: letter, number, space or other. */
export let GPT2_CLASSES: usize = 0
/** Stages of the pattern pre-tokenizer, four u32 each: addresses of classes, table and fused table, flags of ascii-pattern.ts. */
export let STAGES: usize = 0
export let STAGE_COUNT: i32 = 0
/** JSON: u8 per byte, the character that a one-letter escape means, or 0. */
export let ESCAPES: usize = 0
/** JSON: 8 bytes per open container: whether it is an object u32, number of elements u32. */
export let CONTAINERS: usize = 0
/** JSON: 16 bytes per part of the field's path: kind u32 (0 key, 1 index), index or length u32, address of the key u32. */
export let PATH: usize = 0
/** One bit per pair of bytes (first in the low half): whether an added token may start with them. */
export let TOKEN_PAIRS: usize = 0
/** u32 tokens that precede each text, then those that follow it. */
export let TEMPLATE: usize = 0
/** One bit per code point: whether a text with it may need normalization. */
export let CHANGING: usize = 0
/** Chunks: u8 per byte, the kinds of cuts that may follow it, then those that may precede it; see chunks.ts. */
export let CHUNK_RULES: usize = 0
/** Chunks: two bits per code point, whether a chunk may end with it. */
export let CHUNK_ENDS: usize = 0

export function setTables(
  lengthMasks: usize, byteIds: usize, bytePairRanks: usize, innerPairs: usize, merges: usize, rankBits: u32, pairs: usize, pairBits: u32,
  words: usize, wordBits: u32, mostWordBits: u32, mediumWords: usize, mediumBits: u32, nowhere: usize, longWords: usize, longMask: u32, arena: usize, arenaEnd: usize,
  starts: usize, keys: usize, symbols: usize, gpt2Classes: usize, stages: usize, stageCount: i32,
  escapes: usize, containers: usize, path: usize, tokenPairs: usize, template: usize, changing: usize,
  chunkRules: usize, chunkEnds: usize,
): void {
  LENGTH_MASKS = lengthMasks
  BYTE_IDS = byteIds
  BYTE_PAIR_RANKS = bytePairRanks
  INNER_PAIRS = innerPairs
  PAIRS = pairs
  PAIR_BYTES_MASK = (<usize>4 << pairBits) - 1
  PAIR_SHIFT = 66 - <u64>pairBits
  MERGES = merges
  RANK_MASK = (1 << rankBits) - 1
  WORDS = words
  WORD_SHIFT = 64 - <u64>wordBits
  LEAST_WORD_SHIFT = 64 - <u64>mostWordBits
  MEDIUM_WORDS = mediumWords
  MEDIUM_SHIFT = 64 - <u64>mediumBits
  NOWHERE = nowhere
  LONG_WORDS = longWords
  LONG_MASK = longMask
  ARENA = arena
  ARENA_END = arenaEnd
  STARTS = starts
  KEYS = keys
  SYMBOLS = symbols
  GPT2_CLASSES = gpt2Classes
  STAGES = stages
  STAGE_COUNT = stageCount
  ESCAPES = escapes
  CONTAINERS = containers
  PATH = path
  TOKEN_PAIRS = tokenPairs
  TEMPLATE = template
  CHANGING = changing
  CHUNK_RULES = chunkRules
  CHUNK_ENDS = chunkEnds
}

export function doubleWords(): void {
  WORD_SHIFT--
}

/** Start of unused memory; the host moves it together with its buffers. */
export let FREE: usize = 0

export function setFree(address: usize): void {
  FREE = address
}

/** Makes `bytes` of memory usable from FREE. Growing memory detaches the host's views. */
export function ensureFree(bytes: usize): void {
  const pages = <i32>((FREE + bytes + 0xffff) >> 16)
  if (pages > memory.size()) if (memory.grow(pages - memory.size()) < 0) unreachable()
}

export function firstUsableAddress(): usize {
  return (__heap_base + 63) & ~63
}
