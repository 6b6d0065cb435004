// XXH64 with seed 0, whose low half ends a frame. Source: xxHash, doc/xxhash_spec.md.
const PRIME1: u64 = 0x9e3779b185ebca87
const PRIME2: u64 = 0xc2b2ae3d27d4eb4f
const PRIME3: u64 = 0x165667b19e3779f9
const PRIME4: u64 = 0x85ebca77c2b2ae63
const PRIME5: u64 = 0x27d4eb2f165667c5

// @ts-ignore: decorator
@inline
function round(sum: u64, value: u64): u64 {
  return rotl(sum + value * PRIME2, 31) * PRIME1
}

// @ts-ignore: decorator
@inline
function merged(hash: u64, sum: u64): u64 {
  return (hash ^ round(0, sum)) * PRIME1 + PRIME4
}

export function xxh64(from: usize, end: usize): u64 {
  const length = <u64>(end - from)
  let hash: u64 = PRIME5
  if (length >= 32) {
    let sum1 = PRIME1 + PRIME2
    let sum2 = PRIME2
    let sum3: u64 = 0
    let sum4: u64 = 0 - PRIME1
    for (; from + 32 <= end; from += 32) {
      sum1 = round(sum1, load<u64>(from))
      sum2 = round(sum2, load<u64>(from, 8))
      sum3 = round(sum3, load<u64>(from, 16))
      sum4 = round(sum4, load<u64>(from, 24))
    }
    hash = rotl(sum1, 1) + rotl(sum2, 7) + rotl(sum3, 12) + rotl(sum4, 18)
    hash = merged(merged(merged(merged(hash, sum1), sum2), sum3), sum4)
  }
  hash += length
  for (; from + 8 <= end; from += 8) hash = rotl(hash ^ round(0, load<u64>(from)), 27) * PRIME1 + PRIME4
  if (from + 4 <= end) {
    hash = rotl(hash ^ (<u64>load<u32>(from) * PRIME1), 23) * PRIME2 + PRIME3
    from += 4
  }
  for (; from < end; from++) hash = rotl(hash ^ (<u64>load<u8>(from) * PRIME5), 11) * PRIME1
  hash = (hash ^ (hash >> 33)) * PRIME2
  hash = (hash ^ (hash >> 29)) * PRIME3
  return hash ^ (hash >> 32)
}
