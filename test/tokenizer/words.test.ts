/** The kernel's word cache when it is full: entries move, are evicted, and the arena of long words restarts. */
import { expect, it } from 'vitest'
import { KernelEngine } from '#src/tokenizer/kernel/kernel-engine'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { describeWithGpt2, gpt2Json, randomFrom, type TokenizerJson } from './fixtures.js'

/** The same vocabulary with one token whose id needs more than 16 bits, which changes the token format. */
function wide(json: TokenizerJson): TokenizerJson {
  return { ...json, model: { ...json.model, vocab: { ...json.model.vocab, '\u0120far\u0120away': 70_000 } } }
}

/** Random words with few repetitions, and runs of spaces, which have many tokens. */
function randomWords(random: (limit: number) => number, count: number, shortest: number, longest: number): string {
  const words = Array.from({ length: count }, () => {
    const letters = Array.from({ length: shortest + random(longest - shortest + 1) }, () => 97 + random(26))
    return String.fromCharCode(...letters) + (random(20) === 0 ? ' '.repeat(random(30)) : '')
  })
  return words.join(' ')
}

describeWithGpt2('words that evict each other', () => {
  for (const [name, json] of [
    ['16-bit', gpt2Json()],
    ['32-bit', wide(gpt2Json())],
  ] as const) {
    it(`keep their tokens: ${name}`, () => {
      const random = randomFrom(8)
      // More than 2^19 short words and 2^16 medium ones, and long ones of more than 2^24 bytes with their tokens.
      const texts = [
        ...Array.from({ length: 60 }, () => randomWords(random, 10_000, 3, 15)),
        ...Array.from({ length: 10 }, () => randomWords(random, 10_000, 15, 33)),
        ...Array.from({ length: 12 }, () => randomWords(random, 10_000, 60, 90)),
      ]
      const kernel = loadTokenizer(json, { wasm: kernelModule() })
      const known = texts.map(text => Buffer.from(kernel.encode(text).buffer).toString('latin1'))
      for (const [index, text] of texts.entries()) {
        if (Buffer.from(kernel.encode(text).buffer).toString('latin1') !== known[index]) expect.fail(`text ${index}`)
      }
      const twin = loadTokenizer(json)
      for (let index = 0; index < texts.length; index += 3) {
        if (Buffer.from(twin.encode(texts[index]!).buffer).toString('latin1') !== known[index]) {
          expect.fail(`text ${index}, by the twin`)
        }
      }
    })
  }

  it('make the cache grow as far as it may', () => {
    const random = randomFrom(9)
    const texts = Array.from({ length: 70 }, () => randomWords(random, 10_000, 3, 7))
    const encode = (cacheBytes: number) => {
      const tokenizer = loadTokenizer(gpt2Json(), { wasm: kernelModule(), cacheBytes })
      const { engine } = tokenizer
      if (!(engine instanceof KernelEngine)) throw new Error('not the kernel')
      const round = () => texts.map(text => Buffer.from(tokenizer.encode(text).buffer).toString('latin1'))
      const rounds = Array.from({ length: 3 }, round)
      return { rounds, wordBits: engine.exports.wordBits() }
    }
    const all = [1, 70e6, 200e6].map(encode)
    expect(all.map(({ wordBits }) => wordBits)).toEqual([18, 19, 20])
    const known = all[0]!.rounds[0]
    for (const round of all.flatMap(({ rounds }) => rounds)) {
      expect(round.every((text, i) => text === known![i])).toBe(true)
    }
  })
})
