// Splits a text into chunks that the host encodes by themselves, so that their tokens can be cached. TypeScript twin and the
// meaning of the tables: src/tokenizer/patterns/chunks.ts.
import { CHUNK_ENDS, CHUNK_RULES, STARTS } from './memory'
import { codePointAt } from './utf8'
import { encodeWords, GROUP } from './words'

/** Bit of a cut that depends on the character before it. */
const DEPENDS: u32 = 0x80
/** Values of CHUNK_ENDS, two bits per code point; 0: not asked yet. */
const NO: u32 = 1
const YES: u32 = 2
/** Bytes between two checks whether the group is full. */
const STEP: usize = 64

// @ts-ignore: decorator
@external('env', 'mayEndChunk')
declare function mayEndChunk(codePoint: u32): bool

/** Encodes [start, end) to `out`; returns the end of the tokens. */
export function encodeChunks<T>(start: usize, end: usize, out: usize): usize {
  // Locals: the compiler reloads globals after each store.
  const after = CHUNK_RULES
  const before = CHUNK_RULES + 256
  const starts = STARTS
  const full = starts + (<usize>GROUP << 2)
  store<u32>(starts, <u32>start)
  let to = starts + 4
  let output = out
  let kinds = <u32>load<u8>(after + <usize>load<u8>(start))
  for (let at = start + 1; at < end; ) {
    for (const stop = min(at + STEP, end); at < stop; at++) {
      const byte = <usize>load<u8>(at)
      const cuts = kinds & <u32>load<u8>(before + byte)
      kinds = load<u8>(after + byte)
      store<u32>(to, <u32>at)
      to += <usize>(cuts != 0) << 2
      if (cuts == DEPENDS && !isChunkEnd(at)) to -= 4
    }
    if (to > full) {
      output = encodeWords<T>(<i32>((to - starts) >> 2) - 1, output)
      store<u32>(starts, load<u32>(to - 4))
      to = starts + 4
    }
  }
  store<u32>(to, <u32>end)
  return encodeWords<T>(<i32>((to - starts) >> 2), output)
}

/** Whether a chunk may end with the character of several bytes before `at`; asks the host once per character. */
function isChunkEnd(at: usize): bool {
  let first = at - 1
  while ((load<u8>(first) & 0xc0) == 0x80) first--
  const codePoint = codePointAt(first, load<u8>(first))
  const place = CHUNK_ENDS + <usize>(codePoint >> 2)
  const shift = (codePoint & 3) << 1
  let known = (<u32>load<u8>(place) >> shift) & 3
  if (known == 0) {
    known = mayEndChunk(codePoint) ? YES : NO
    store<u8>(place, load<u8>(place) | <u8>(known << shift))
  }
  return known == YES
}
