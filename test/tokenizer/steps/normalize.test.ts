import { nfcNormalizer, nfdNormalizer, nfkcNormalizer, nfkdNormalizer } from 'tokenizers'
import { expect, it } from 'vitest'
import { changingCodePoints, formStep, normalizeText, type UnicodeForm } from '#src/tokenizer/steps/normalize'

const RUST = { NFC: nfcNormalizer(), NFD: nfdNormalizer(), NFKC: nfkcNormalizer(), NFKD: nfkdNormalizer() }

for (const [form, rust] of Object.entries(RUST)) {
  it(`normalizes every code point to ${form} as the Rust library does, alone and between combining marks`, () => {
    const differing: string[] = []
    for (let codePoint = 0; codePoint < 0x110000; codePoint += codePoint === 0xd7ff ? 0x801 : 1) {
      // The middle of the large planes is uniform; every 16th code point is enough.
      if (codePoint > 0x30000 && codePoint < 0xe0000) codePoint += 15
      const character = String.fromCodePoint(codePoint)
      const text = `${character} \u0315${character}\u0301`
      const ours = normalizeText(text, [formStep(form as UnicodeForm)])
      if (rust.normalizeString(text) !== ours) differing.push(codePoint.toString(16))
    }
    expect(differing).toEqual([])
  })
}

for (const [form, rust] of Object.entries(RUST)) {
  it(`the Rust library changes no text without the code points listed for ${form}`, () => {
    const changing = changingCodePoints([formStep(form as UnicodeForm)])
    const kept: string[] = []
    for (let codePoint = 1; codePoint < 0x30000; codePoint += codePoint === 0xd7ff ? 0x801 : 1) {
      if (((changing[codePoint >> 3]! >> (codePoint & 7)) & 1) === 0) kept.push(String.fromCodePoint(codePoint))
    }
    expect(kept.length).toBeGreaterThan(100_000)
    const mixed = kept.map((_, i) => kept[(i * 7919) % kept.length])
    expect(rust.normalizeString(kept.join('')) === kept.join('')).toBe(true)
    expect(rust.normalizeString(mixed.join('')) === mixed.join('')).toBe(true)
  })
}
