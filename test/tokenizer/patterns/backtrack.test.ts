/** Patterns in all constructs of Oniguruma that we accept, by the automaton or by backtracking, against the Rust library. */
import { Tokenizer as RustTokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import { readPreTokenizer } from '#src/tokenizer/file/read-pre-tokenizers'
import { preTokenize } from '#src/tokenizer/steps/pre-tokenizers'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { emptyJson } from '../fixtures.js'
import { fuzz } from '../judge.js'

const split = (pattern: string, behavior = 'Isolated') => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior,
  invert: false,
})

function pieces(pattern: string, text: string, behavior?: string): string[] {
  const steps = readPreTokenizer({ json: split(pattern, behavior), type: 'Split', place: 'pre_tokenizer' })
  return preTokenize({ text, fromFirst: 0 }, steps).map(piece => piece.text)
}

function rustPieces(pattern: string, text: string, behavior?: string): string[] {
  const rust = RustTokenizer.fromString(JSON.stringify(emptyJson(split(pattern, behavior))))
  const found = rust.getPreTokenizer()!.preTokenizeString(text)
  return found.map(([piece]) => piece).filter(piece => piece !== '')
}

const TEXTS = [
  'abc abc12345 67, xyz-_é²漢 \n',
  ' \n\n a\r\nb  \n',
  '   \t end   ',
  'aaab Ab sS \u017fs 0xFf,1234567.89',
  'word1_word2 \u00bc\u0301x\u2028y\u0085z',
  ...fuzz(41, 40).filter(text => text !== ''),
]

const PATTERNS = {
  'line anchors': ['^a', 'a$', '\\s+$', '^\\s*\\n|$', '(?:^|x)a'],
  'text anchors': ['\\Aa', '\\s\\z', '\\s\\Z', '\\A.|.\\Z'],
  'word boundaries': ['\\b', '\\ba', 'a\\B', '\\B.\\b'],
  'look-ahead': ['\\d+(?=,)', '\\d{1,3}(?=(?:\\d{3})*\\b)', '(?=(\\d{3})+(?!\\d))', 'a(?!bc)', '(?!ab)[a-z]+'],
  'look-behind': ['(?<=a)b', '(?<!\\d)\\d', '(?<=\\s|^)\\w', '(?<=ab?)[bc]', '(?<![a-z]{2})c'],
  'possessive repeats and atomic groups': [
    'a++a',
    'a*+b?',
    '(?>a|ab)c',
    '\\s++$|\\s+',
    '[^\\d]?+\\d++',
    '(?>\\d+)(?=\\.)',
  ],
  'lazy repeats': ['a+?b', 'a??', '\\w{2,4}?', '.*?\\n', '\\s+?(?=\\S)'],
  'counted repeats': ['\\d{,2}x', 'a{,2}', '(?:\\d{1,3})+', '\\d{1,3}+', 'a{2}', 'a{x', 'a{2}{2}'],
  brackets: ['[]a]', '[^]a]', '[\\p{L}&&[^\\p{Han}]]+', '[a-z&&[^aeiou]b-]', '[^(\\s|[.,!?])]+', '[\\w-]+', '[a-]'],
  properties: ['\\p{Alpha}+', '\\p{Letter}', '\\p{^L}+', '\\P{Decimal_Number}', '[[:^space:][:digit:]]', '\\h+', '\\H'],
  options: ['(?i)ab|S', 'x(?i)a|b', '(?i:k)', '(?m:.+)', '(?<name>a)b', '\\R', '\\x{e9}|\\u6f22'],
  'well-known ones': [
    '[\\r\\n]|\\s?\\p{L}+|\\s?\\p{P}+|[一-龥]+|\\p{N}',
    '\\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+|\\s+$',
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
    '[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{M}&&[^\\p{Han}]]+',
  ],
}

describe('patterns split as in the Rust library', () => {
  for (const [kind, patterns] of Object.entries(PATTERNS)) {
    it(kind, () => {
      for (const pattern of patterns) {
        for (const text of TEXTS) expect(pieces(pattern, text), pattern).toEqual(rustPieces(pattern, text))
      }
    })
  }

  for (const behavior of ['Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']) {
    it(`matches of the empty text, ${behavior}`, () => {
      for (const pattern of ['\\b', '(?=a)', 'b*']) {
        for (const text of TEXTS) {
          expect(pieces(pattern, text, behavior), pattern).toEqual(rustPieces(pattern, text, behavior))
        }
      }
    })
  }
})

it('rejects constructs that we cannot match exactly, with the place of the step', () => {
  const refused = [
    '(a)\\1',
    '\\X',
    'a\\Kb',
    '\\Ga',
    '(?x: a)',
    '(?i:é)',
    '(?i:ss)',
    '[[:punct:]]',
    '\\p{Greek}',
    '(?:a*)*',
  ]
  refused.push('*', 'a|+', '(?<=a+)b', '(?<=(?=a)a)b', 'a{3,2}', 'a{99}', '(', ')', '[a', '[b-a]', '\\xff')
  for (const pattern of refused) {
    expect(() => loadTokenizer(emptyJson(split(pattern))), pattern).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('pre_tokenizer: type Split') }),
    )
  }
})

it('rejects a Replace that would insert its content at matches of the empty text', () => {
  const normalizer = { type: 'Replace', pattern: { Regex: '^' }, content: 'x' }
  expect(() => loadTokenizer({ ...emptyJson(null), normalizer })).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('normalizer: type Replace') }),
  )
})

it('tries each state once, so that failing matches take linear time', () => {
  const steps = readPreTokenizer({ json: split('(?:a|a)+\\z'), type: 'Split', place: 'pre_tokenizer' })
  const text = `${'a'.repeat(200_000)}b`
  expect(preTokenize({ text, fromFirst: 0 }, steps).map(piece => piece.text)).toEqual([text])
})
