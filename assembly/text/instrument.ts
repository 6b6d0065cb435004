// Counters and early ends for bench/breakdown.ts, which compiles this file as a second entry, defines COUNTING for builds with
// counters, and defines STOP_AT for builds that end after one of the steps below. Other builds contain nothing of this.
export const COPYING: i32 = 1
export const SPLITTING: i32 = 2
export const HASHING: i32 = 3
export const FETCHING: i32 = 4

// Words that are not in their first bucket, or have their tokens elsewhere; of those, words of more than 15 bytes, words found
// in their other bucket, words merged, and entries evicted.
export const RARE_WORDS: i32 = 0
export const LONG_WORDS: i32 = 1
export const DETOURS: i32 = 2
export const MERGES: i32 = 3
export const EVICTIONS: i32 = 4
const WORDS: i32 = 5

let rareWords: i32 = 0
let longWords: i32 = 0
let detours: i32 = 0
let merges: i32 = 0
let evictions: i32 = 0
let words: i32 = 0

// @ts-ignore: decorator
@inline
export function stopsAt(step: i32): bool {
  if (isDefined(STOP_AT)) return step == STOP_AT
  return false
}

// @ts-ignore: decorator
@inline
export function note(what: i32): void {
  if (!isDefined(COUNTING)) return
  if (what == RARE_WORDS) rareWords++
  else if (what == LONG_WORDS) longWords++
  else if (what == DETOURS) detours++
  else if (what == MERGES) merges++
  else evictions++
}

// @ts-ignore: decorator
@inline
export function noteWords(count: i32): void {
  if (isDefined(COUNTING)) words += count
}

export function counted(what: i32): i32 {
  if (what == RARE_WORDS) return rareWords
  if (what == LONG_WORDS) return longWords
  if (what == DETOURS) return detours
  if (what == MERGES) return merges
  return what == WORDS ? words : evictions
}
