import { nfcNormalizer, nfdNormalizer, nfkcNormalizer, nfkdNormalizer } from 'tokenizers'
import { expect, it } from 'vitest'
import { normalizeText, type UnicodeForm } from '#src/tokenizer/normalize'

const RUST = { NFC: nfcNormalizer(), NFD: nfdNormalizer(), NFKC: nfkcNormalizer(), NFKD: nfkdNormalizer() }

for (const [form, rust] of Object.entries(RUST)) {
  it(`normalizes every code point to ${form} as the Rust library does, alone and between combining marks`, () => {
    const differing: string[] = []
    for (let codePoint = 0; codePoint < 0x110000; codePoint += codePoint === 0xd7ff ? 0x801 : 1) {
      // The middle of the large planes is alike; every 16th code point of it is enough.
      if (codePoint > 0x30000 && codePoint < 0xe0000) codePoint += 15
      const character = String.fromCodePoint(codePoint)
      const text = `${character} \u0315${character}\u0301`
      const ours = normalizeText(text, [{ kind: 'form', form: form as UnicodeForm }])
      if (rust.normalizeString(text) !== ours) differing.push(codePoint.toString(16))
    }
    expect(differing).toEqual([])
  })
}
