/**
 * The masks that split ASCII text work on 64 bytes at a time. These texts have few kinds of characters, so that every run,
 * contraction and line end also falls on the edges, and some characters that switch to the automaton.
 */
import { describe, expect, it } from 'vitest'
import { plainFlags } from '#src/tokenizer/patterns/ascii-pattern'
import { jsonFromTiktoken, PATTERNS, PRE_TOKENIZERS, randomFrom } from '../fixtures.js'
import { firstDifference } from '../judge.js'

const ALPHABETS = [
  "aB1 \n.'",
  "abAB12 \t\n\r.,'/",
  'a \n',
  '  \n\r\t',
  "'sStTlLrReEvVdDmM a.",
  '/\n; a',
  '1234567890 a',
  "aA'sS",
  'aé\u017f漢\u0301“\u00a0 \n1',
].map(letters => [...letters])
const FRAGMENTS = [
  ..."'s 'LL 're don't fooBar HTTPServer 1999 ========== '\u017f '\u017f".split(' '),
  ...['    ', '\n\n', '\n        ', '\r\n', '  \n  \n', ';\n//', '\n/\n'],
]

function plainTexts(seed: number, count: number): string[] {
  const random = randomFrom(seed)
  return Array.from({ length: count }, () => {
    const alphabet = ALPHABETS[random(ALPHABETS.length)]!
    const letter = (): string => alphabet[random(alphabet.length)]!
    const length = [3, 20, 70, 200, 400, 400, 400, 3000][random(8)]!
    let text = ''
    while (text.length < length) {
      const kind = random(10)
      if (kind === 0) text += FRAGMENTS[random(FRAGMENTS.length)]!
      else if (kind === 1) text += letter().repeat(random(random(10) === 0 ? 90 : 8))
      else text += letter()
    }
    return text
  })
}

describe('patterns split by masks', () => {
  for (const [name, ranks, pattern] of [
    ['llama3', 'cl100k_base', PATTERNS.cl100k],
    ['qwen2', 'cl100k_base', PATTERNS.qwen2],
    ['o200k', 'o200k_base', PATTERNS.o200k],
  ] as const) {
    it(`give the ids of the Rust library and of the automaton: ${name}`, async () => {
      expect(plainFlags(pattern)).not.toBe(0)
      const json = jsonFromTiktoken(ranks, PRE_TOKENIZERS[name]!)
      expect(await firstDifference(json, plainTexts(5, 4000))).toBeUndefined()
    })
  }

  it('are recognized by exact spelling only', () => {
    expect(plainFlags(PATTERNS.cl100k.replace('{1,3}', '{1,4}'))).toBe(0)
    expect(plainFlags(PATTERNS.deepseek)).toBe(0)
  })
})
