/** Random regular expressions in the syntax of Oniguruma, most of them valid. */

const CHARACTERS = [
  ...'aabbsStk 1_.-|é漢\u0301\u2581\n',
  '\\n',
  '\\.',
  '\\x41',
  '\\u00e9',
  '\\t',
  '\\-',
  '\\/',
  '\ufb01',
  'ß',
]
const CLASSES = [
  ...'\\s|\\S|\\d|\\D|\\w|\\W|\\h|\\H|.|\\p{L}|\\p{Lu}|\\P{N}|\\p{^P}|\\p{Han}|\\p{M}|\\p{Nd}|\\p{Z}|\\p{Cn}'.split(
    '|',
  ),
  ...'\\p{Alpha}|\\p{Letter}|\\p{Hiragana}|\\p{Latin}|\\p{Cyrillic}|\\p{Greek}|\\p{Lowercase_Letter}|\\p{Word}'.split(
    '|',
  ),
  ...'[a-z]|[^a]|[A-Za-z0-9_]|[^\\s\\p{L}\\p{N}]|[\\p{L}\\p{M}]|[\\r\\n]|[^\\r\\n\\p{L}\\p{N}]|[\\[\\]]|[一-龥]|[!-/:-~]'.split(
    '|',
  ),
  ...'[[:alpha:]]|[[:punct:]_]|[^[:space:]]|[\\p{L}&&[^\\p{Han}]]|[a-z&&[^aeiou]]|[^(\\s|[.,!?])]|[a-]|[]a]|[\\w-]'.split(
    '|',
  ),
]
const ANCHORS = ['^', '$', '\\A', '\\z', '\\Z', '\\b', '\\B', '\\G', '\\K', '\\R', '\\X', '\\1']
const AROUND = ['(?=', '(?!', '(?<=', '(?<!']
const GROUPS = ['(', '(?:', '(?:', '(?i:', '(?>', '(?<n>', '(?m:', '(?x:']
const BROKEN = [')', '(', '[', ']', '*', '+', '?', '{2}', '[z-a]', '\\p{Nonsense}', '\\', '{', '}', '(?i)', '{1,2']

function atom(random, depth) {
  const kind = random.next()
  if (kind < 0.35) return random.pick(CHARACTERS)
  if (kind < 0.75 || depth === 0) return random.pick(CLASSES)
  if (kind < 0.83) return random.pick(ANCHORS)
  if (kind < 0.88) return `${random.pick(AROUND)}${choice(random, depth - 1)})`
  if (kind < 0.89) return random.pick(BROKEN)
  return `${random.pick(GROUPS)}${choice(random, depth - 1)})`
}

function repeated(random, depth) {
  const item = atom(random, depth)
  if (random.chance(0.55)) return item
  return item + random.pick(['?', '*', '+', '+', '{2}', '{1,3}', '{2,}', '{,2}']) + random.pick(['', '', '', '?', '+'])
}

const sequence = (random, depth) => random.list(1 + random.below(3), () => repeated(random, depth)).join('')

const choice = (random, depth) =>
  random.list(random.chance(0.7) ? 1 : 2 + random.below(2), () => sequence(random, depth)).join('|')

export const randomExpression = random => choice(random, 2)
