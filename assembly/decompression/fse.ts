// Tables of finite state entropy coding (RFC 8878, section 4.1).
import { highestBit } from './bits'

const MAX_SYMBOLS: u32 = 256
/** i16 per symbol: its share of the table; -1 is a single state with all bits. */
const SHARES: usize = memory.data(512)
/** u16 per symbol: the next of its states. */
const NEXT: usize = memory.data(512)
/** u8 per state: its symbol. */
const SYMBOLS: usize = memory.data(512)

/** Number of symbols and log2 of the number of states that `readShares` found. */
export let symbolCount: u32 = 0
export let accuracy: u32 = 0

export function setShares(shares: usize, count: u32, log: u32): void {
  memory.copy(SHARES, shares, count << 1)
  symbolCount = count
  accuracy = log
}

/** Reads a description of a table at [from, end). @returns the address after it, 0 if it is damaged */
export function readShares(from: usize, end: usize, maxAccuracy: u32, maxSymbol: u32): usize {
  const bitEnd = <u64>(end - from) << 3
  accuracy = (load<u8>(from) & 15) + 5
  if (accuracy > maxAccuracy) return 0
  let at: u64 = 4
  let left = <i32>1 << accuracy
  let symbol: u32 = 0
  while (left > 0) {
    if (symbol > maxSymbol || at >= bitEnd) return 0
    // Values below the threshold take a bit less.
    const bits = highestBit(<u32>left + 1) + 1
    const word = load<u32>(from + <usize>(at >> 3)) >> <u32>(at & 7)
    const threshold = (<u32>1 << bits) - 1 - (<u32>left + 1)
    const low = word & ((<u32>1 << (bits - 1)) - 1)
    let value = word & ((<u32>1 << bits) - 1)
    if (low < threshold) {
      value = low
      at += bits - 1
    } else {
      if (value > (<u32>1 << (bits - 1)) - 1) value -= threshold
      at += bits
    }
    const share = <i32>value - 1
    left -= share < 0 ? 1 : share
    store<i16>(SHARES + (symbol++ << 1), <i16>share)
    if (share != 0) continue
    for (let repeats: u32 = 3; repeats == 3; ) {
      repeats = (load<u16>(from + <usize>(at >> 3)) >> <u32>(at & 7)) & 3
      at += 2
      if (symbol + repeats > maxSymbol + 1 || at > bitEnd) return 0
      for (let index: u32 = 0; index < repeats; index++) store<i16>(SHARES + (symbol++ << 1), 0)
    }
  }
  if (left != 0 || at > bitEnd) return 0
  symbolCount = symbol
  return from + <usize>((at + 7) >> 3)
}

/**
 * Spreads the symbols over the states: u32 per state, symbol | bits << 8 | base of the next state << 16.
 * @returns whether the shares are those of a table
 */
export function buildStates(table: usize): bool {
  const size = <u32>1 << accuracy
  const mask = size - 1
  let high = size
  for (let symbol: u32 = 0; symbol < symbolCount; symbol++) {
    const share = load<i16>(SHARES + (symbol << 1))
    store<u16>(NEXT + (symbol << 1), share < 0 ? 1 : <u16>share)
    if (share < 0) {
      if (high == 0) return false
      store<u8>(SYMBOLS + --high, <u8>symbol)
    }
  }
  const step = (size >> 1) + (size >> 3) + 3
  let place: u32 = 0
  for (let symbol: u32 = 0; symbol < symbolCount; symbol++) {
    const share = <i32>load<i16>(SHARES + (symbol << 1))
    for (let index: i32 = 0; index < share; index++) {
      store<u8>(SYMBOLS + place, <u8>symbol)
      do place = (place + step) & mask
      while (place >= high && high > 0)
    }
  }
  if (place != 0) return false
  for (let state: u32 = 0; state < size; state++) {
    const symbol = <u32>load<u8>(SYMBOLS + state)
    const next = <u32>load<u16>(NEXT + (symbol << 1))
    store<u16>(NEXT + (symbol << 1), <u16>(next + 1))
    const bits = accuracy - highestBit(next)
    store<u32>(table + (state << 2), symbol | (bits << 8) | (((next << bits) - size) << 16))
  }
  return true
}
