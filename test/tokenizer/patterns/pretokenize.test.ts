import { Tokenizer as RustTokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import { patternRule, splitterFor } from '#src/tokenizer/patterns/pretokenize'
import { emptyJson, PATTERNS } from '../fixtures.js'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

function pieces(pattern: string, text: string): string[] {
  const bytes = encoder.encode(text)
  const found: string[] = []
  splitterFor([patternRule(pattern)])(bytes, 0, bytes.length, (start, end) => {
    found.push(decoder.decode(bytes.subarray(start, end)))
  })
  return found
}

function rustPieces(pattern: string, text: string): string[] {
  const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }
  const rust = RustTokenizer.fromString(JSON.stringify(emptyJson(split)))
  return rust
    .getPreTokenizer()!
    .preTokenizeString(text)
    .map(([piece]) => piece)
}

const EVERYTHING = Array.from({ length: 0x110000 }, (_, codePoint) =>
  codePoint >= 0xd800 && codePoint < 0xe000 ? '' : String.fromCodePoint(codePoint),
).join('')

describe('character classes', () => {
  const classes = ['L', 'Lu', 'Ll', 'Lt', 'Lm', 'Lo', 'M', 'N', 'Nd', 'P', 'S', 'Han', 'Cn', 'Z'].map(
    name => `\\p{${name}}`,
  )
  const POSIX = ['alnum', 'alpha', 'cntrl', 'digit', 'space', 'word', 'xdigit', '^alpha'].map(name => `[[:${name}:]]`)
  for (const name of [
    ...classes,
    '\\s',
    '\\S',
    '\\d',
    '\\w',
    '[\\w]',
    '\\h',
    '(?i:k)',
    '(?i:s)',
    '.',
    '(?m:.)',
    ...POSIX,
  ]) {
    it(`${name} has the code points of the Rust library`, () => {
      const ours = pieces(`${name}+`, EVERYTHING)
      const rust = rustPieces(`${name}+`, EVERYTHING)
      const firstDifferent = ours.findIndex((piece, i) => piece !== rust[i])
      const told = firstDifferent < 0 ? '' : `${ours[firstDifferent]!.slice(-3)} / ${rust[firstDifferent]?.slice(-3)}`
      expect(told).toBe('')
      expect(ours.length).toBe(rust.length)
    })
  }
})

it('has the word characters of the Whitespace pre-tokenizer', () => {
  const rust = RustTokenizer.fromString(JSON.stringify(emptyJson({ type: 'Whitespace' })))
  const ours = pieces('\\p{RustWord}+|[^\\p{RustWord}\\s]+', EVERYTHING).filter(
    piece => !/^\p{White_Space}+$/u.test(piece),
  )
  const theirs = rust
    .getPreTokenizer()!
    .preTokenizeString(EVERYTHING)
    .map(([piece]) => piece)
  expect(ours.findIndex((piece, i) => piece !== theirs[i])).toBe(-1)
})

it('rejects patterns that an automaton cannot match exactly', () => {
  const refused = ['(a)\\1', '(?<=a)b', '^a', 'a$', '(?!ab)', 'a*', '\\bx', '(?i:é)', 'a++a', '(?>ab)', '(?i:ss)']
  for (const pattern of refused) {
    expect(() => patternRule(pattern), pattern).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  }
})

it('matches the patterns of well-known models, with possessive repeats too', () => {
  const text = "I've  seen 12345 Cats\r\n\n  and dogs' tails…  "
  const possessive = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]+|\s+(?!\S)|\s+`
  for (const pattern of [...Object.values(PATTERNS), possessive]) {
    expect(pieces(pattern, text)).toEqual(rustPieces(pattern, text))
  }
})
