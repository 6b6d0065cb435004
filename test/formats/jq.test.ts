/** Compares compiled filters with jq 1.7 (as WebAssembly), or with values of jq 1.8 where it differs. */
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { compileJq, problemOfFilter } from '#src/formats/jq'
import { parseJson } from '#src/formats/jq/numbers'

interface JqWeb {
  raw(json: string, filter: string, options: readonly string[]): string | undefined
}
const jqWeb: JqWeb = await createRequire(import.meta.url)('jq-web')

const FAILED = 'failed'

function expected(filter: string, value: unknown): unknown {
  try {
    const lines = jqWeb.raw(JSON.stringify(value), filter, ['-c']) ?? ''
    return lines
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line))
  } catch {
    return FAILED
  }
}

function compiled(filter: string, value: unknown): unknown {
  const program = compileJq(filter)
  if (program === null) return 'not compiled'
  try {
    return JSON.parse(JSON.stringify(program.apply(value)))
  } catch {
    return FAILED
  }
}

const RECORDS: readonly unknown[] = [
  {
    text: 'Hello "World"\n',
    title: 'A title',
    id: 17,
    score: -2.5,
    tags: ['b', 'a', 'b', 'ß'],
    meta: { lang: 'en', 'a key': { deep: [1, [2, 3], { x: null }] }, empty: '' },
    messages: [
      { role: 'user', content: 'Hi', n: 3 },
      { role: 'assistant', content: 'Hello 😀 you', n: 1 },
      { role: 'user', content: null, n: 3 },
    ],
    flags: [true, false, null],
    numbers: [3, 1, 2, 10, -1],
    none: null,
    off: false,
  },
  { text: 5, tags: 'no list', messages: {}, meta: [1, 2, 3], numbers: [] },
  ['x', 1, null, { text: 'in a list' }, [1, 2]],
  'just text',
  12,
  null,
  true,
]

const FILTERS = `
.
.text
."text"
.["text"]
.["text","id"]
.meta.lang
.meta["a key"].deep[1][0]
.meta."a key".deep
.meta.["lang"]
.tags[0]
.tags[-1]
.tags[9]
.tags[1.7]
.tags[1:3]
.tags[:-1]
.tags[-2:]
.text[2:5]
.messages[1].content[6:7]
.messages[1].content | length
.[0]
.[1:]
.text?
.meta.lang.nothing?
[.meta.lang.x.y?]
(.meta.lang.x.y)?
.[]?
[.[]?]
[.messages[].content]
[.messages[]?.content?]
.none.a.b[0].c
.none // "default"
.off // .none // "last"
.text // error
(.flags[] // "nothing")
[.flags[] // "x"]
[(.none, .off, 1, 2) // 5]
[.a.b.c // "gone"]
[.text.x // "gone"]
.title + ": " + .text
.title, .text
first(.title, error)
.text | .
.meta | .lang | length
"\\(.title): \\(.text)"
"a \\(.id) \\(.score) \\(.tags) \\(.meta) b"
"\\(1, 2) \\(3, 4)"
"nested \\("in \\(.id)") end"
"tab\\tquote\\" \\u00e9 \\ud83d\\ude00 \\/ \\\\"
.tags | join(", ")
.numbers | join("-")
.flags | join("/")
[.messages[] | .role + ": " + (.content // "")] | join("\\n")
.messages | map(.content) | join("|")
.messages | map(select(.role == "user")) | length
.messages | map(select(.content != null) | .content | ascii_downcase)
[.messages[] | select(.n > 1 and .role == "user") | .content]
[.messages[] | {role, text: .content}]
{a: 1, "b c": .id, (.title): true, tags}
{a: (1, 2), b: (3, 4)}
{"x\\(.id)": 1}
{(.tags[]?): .id}
{a: .id | . , b: -1}
{if: 1, and: 2}
{}
[]
[.]
[1, 2, [3]]
1 + 2 * 3 - 4 / 2 % 3
(1, 2) + (10, 20)
-1 + 2
-(.id)
7 % 3, -7 % 3, 7 % -3, 5.9 % 3.2
1 / 3
1 / 0
5 % 0
[1, 2, 1, 3] - [1]
{a: {b: 1, c: 2}} * {a: {b: 5, d: {e: 1}}, x: 3}
{a: 1, b: 2} + {b: 3}
null + 1, 1 + null
"a,b,,c" / ","
"abc" / ""
.tags + .numbers
.id + "x"
[] + {}
.id == 17, .id != 17, .id < 18, .id <= 17, .id > 17, .id >= 17
.tags < .numbers, .text < .title
[null, true, false, 0, -1, "b", "a", "B", [], [1], [0, 5], {}, {"a": 1}, {"b": 0}, {"a": 0}] | sort
["\\ud83d\\ude00", "\\uffff", "z"] | sort
.id == 17 and .text == "x"
true and (null, 1), false and error
true or error, false or (1, null)
(true, false) and (true, false)
(true, false) or (true, false)
.flags | map(not)
if .id then "yes" else "no" end
if .id > 20 then "big" elif .id > 10 then "middle" else "small" end
if .none then 1 end
if (true, false) then 1 else 2 end
if empty then 1 else 2 end
.title as $t | .tags | map($t + .)
(1, 2) as $x | (3, 4) as $y | [$x, $y]
. as $all | .id as $id | {id: $id, same: ($all.id == $id)}
{a: 1} | .a as $a | {$a}
[..]
[.. | strings]
[.meta | .. | numbers]
[recurse]
length
.meta | length
.score | length
.text | utf8bytelength
keys
keys_unsorted
.meta | keys
.tags | keys
has("text")
.tags | has(0), has(10)
type
[.[]? | type]
.tags | add
.numbers | add
.flags | add
[] | add
.tags | any(. == "a"), all(. == "a")
.flags | any, all
[] | any, all
.meta | map_values(length)
.numbers | map_values(. + 1)
.numbers | map_values(empty)
.tags | map(ascii_upcase)
"ÄBCß" | ascii_downcase
.text | tostring
.id | tostring
.tags | tostring
.meta | tojson
.title | tojson
"\\u0001\\u007f\\u0080\\u2028<>&'" | tojson
"12.5e1" | tonumber
"x" | tonumber
.id | tonumber
.title | startswith("A"), endswith("x")
.id | startswith("A")
.title? | strings | ltrimstr("A "), rtrimstr("title"), ltrimstr("x"), rtrimstr("")
"a, b, c" | split(", ")
"" | split(",")
"abc" | split("")
.numbers | sort, reverse, min, max
[] | min, max, reverse, sort, unique
null | reverse
"abc" | reverse
.tags | unique
.messages | sort_by(.n) | map(.content)
.messages | sort_by(.role, .n) | map(.content)
.messages | group_by(.n) | map(length)
.messages | unique_by(.role) | map(.content)
.messages | min_by(.n).content, max_by(.n).content
.meta | to_entries
.tags | to_entries
""|reverse
0|reverse
7 % -3 * 2
1 - -1
null | has("a")
[error("a")?]
(1, error("x")) // 2
.meta["a key"].deep | flatten
[1, [2, [3, [4]]]] | flatten(1), flatten(0)
[1] | flatten(-1)
.numbers | first, last, nth(1)
[] | first, last
first(.numbers[]?)
[limit(2; .numbers[]?)]
[limit(0; 1, 2)]
[range(4)], [range(2; 5)], [range(0, 1; 3, 4)]
.score | floor, ceil
16 | sqrt
.meta | [.[] | scalars], [.[] | iterables], [.[] | values]
[.flags[] | nulls, booleans]
.meta | contains({lang: "e"})
"foobar" | contains("bar")
["foobar", "baz"] | contains(["ba"])
"bar" | inside("foobar")
.tags | contains("a")
[.tags[]? | explode]
[.messages[]?.content | strings | length] | add
try error
[.[]? | try tonumber]
[.text | try length, 1]
.a.b.c
.text.x
.tags.x
.[0].x
."a"."b"?
.text # and one more
.and
.not
. as $x | 1 | $x | type
.messages[0] as $m | $m.role + $m["content"]
[.numbers[]? | if . > 2 then "big" else empty end]
[.numbers[]? | . * 2 | select(. > 2)] | length
(.tags | length) as $n | $n * 2
.text | if type == "string" then . else tojson end
[.[]?][0]
..|numbers
`
  .split('\n')
  .filter(line => line !== '')

describe('compileJq', () => {
  it.each(FILTERS)('%s', filter => {
    for (const record of RECORDS)
      expect(compiled(filter, record), JSON.stringify(record)).toEqual(expected(filter, record))
  })

  it('prints numbers as doubles', () => {
    const numbers = [0, 1, -1.5, 0.1, 1e-4, 1.5e-5, 1e15, 9007199254740991, 1e16, 1.5e300, 123456.789, 2 ** 70]
    for (const number of numbers) {
      // Multiplied by 1, so that jq drops the original spelling.
      expect(compileJq('(. * 1) | tojson')!.apply(number)).toEqual(expected('(. * 1) | tojson', number))
    }
  })

  // Values of the package jq of PyPI, which bundles jq 1.8; jq-web is 1.7.
  it.each<[filter: string, input: string, expected: unknown[] | typeof FAILED]>([
    [
      'trim, ltrim, rtrim',
      '"\\u0085\\u3000a b\\ufeff\\u3000"',
      ['a b\ufeff', 'a b\ufeff\u3000', '\u0085\u3000a b\ufeff'],
    ],
    ['trim', '1', FAILED],
    ['trimstr("a")', '"aabaa"', ['aba']],
    ['ltrimstr("x")', '17', FAILED],
    ['.[:index("b")], rindex("b"), indices("b")', '"😀äbab"', ['😀ä', 4, [2, 4]]],
    ['index(""), indices("")', '"abc"', [null, []]],
    ['index("a")', '{"a":1}', FAILED],
    ['indices(1), indices([1,2]), index(3), rindex(2)', '[1,2,1,2]', [[0, 2], [0, 2], null, 3]],
    ['index("a")', 'null', [null]],
    ['last(empty), [limit(0; 1)], [skip(1; 1, 2, 3)]', 'null', [[], [2, 3]]],
    ['limit(-1; 1)', 'null', FAILED],
    ['[.[] | abs]', '[-5, 3, "x"]', [[5, 3, 'x']]],
    ['add(.[] | .a)', '[{"a":1},{"a":2}]', [3]],
    ['"a" * (0, 0.5, 1.9, -1), 2 * .', '"ab"', ['', '', 'a', null, 'abab']],
    ['tonumber', '" 1"', FAILED],
    ['.id | tostring', '{"id":1234567890123456789}', ['1234567890123456789']],
    [
      '.[0] == .[1], .[0] < .[1], (.[0] + 0 == .[1])',
      '[12345678901234567890,12345678901234567891]',
      [false, true, true],
    ],
    [
      'unique | map(tostring)',
      '[12345678901234567891,12345678901234567890,1.0,1]',
      [['1.0', '12345678901234567890', '12345678901234567891']],
    ],
    [
      '[.[] | tojson] | join(" ")',
      '[1.0,1e2,0.1e1,1E400,-0,0.0000001,0.00000123,1.10,0e5,12e-3]',
      ['1.0 1E+2 1 1E+400 -0 1E-7 0.00000123 1.10 0E+5 0.012'],
    ],
    ['map(-. | tostring)', '[12345678901234567890,-1.50,0.0]', [['-12345678901234567890', '1.50', '0.0']]],
    [
      '. as $a | [$a, . + 1] | map(. > 10000000000000000000000000000000)',
      '10000000000000000000000000000001',
      [[true, false]],
    ],
    ['"\\(.text) \\(.n)"', '{"text":"\\\\\\" 1.0","n":2.50}', ['\\" 1.0 2.50']],
  ])('%s of %s as jq 1.8', (filter, input, outputs) => {
    const run = (): unknown[] => compileJq(filter)!.apply(parseJson(input))
    if (outputs === FAILED) expect(run).toThrow()
    else expect(run()).toEqual(outputs)
  })

  it('evaluates nothing after the first output', () => {
    expect(compileJq('.a, error')!.first({ a: 1 })).toBe(1)
    expect(compileJq('.a, (.a | keys)')!.first({ a: 1 })).toBe(1)
    expect(compileJq('empty')!.first(1)).toBeUndefined()
  })

  it.each([
    ['.', []],
    ['.text', ['text']],
    ['.a.b[0]["k"]', ['a', 'b', 0, 'k']],
    ['.a | .["b c"] | .[-1]', ['a', 'b c', -1]],
    ['."a"."b"', ['a', 'b']],
    ['.a[1:]', undefined],
    ['.a?', undefined],
    ['.a[.b]', undefined],
    ['.a // 1', undefined],
    ['.a.b.[0]', ['a', 'b', 0]],
  ])('determines whether %s is a plain path', (filter, path) => {
    expect(compileJq(filter)!.path).toEqual(path)
  })

  it.each([
    'def f: 1; f',
    'reduce .[] as $x (0; . + $x)',
    'test("a")',
    '.a |= 1',
    '.a = 1',
    'try error catch .',
    '@base64',
    '. as [$a] | $a',
    'input',
    'from_entries',
    '$ENV',
    'env',
    '$unknown',
    '.a +',
    '"open',
    '(.a',
    '.a b',
    '.a . b',
    '1 == 1 == 1',
    '',
    '[.[] | splits(",")]',
    '.a?//1 | ?// 2',
    '{a: 1 + 2}',
    `${'('.repeat(5000)}.${')'.repeat(5000)}`,
  ])('does not compile %s', filter => {
    expect(compileJq(filter)).toBeNull()
  })

  it.each([
    ['.a +', 'expected a term at character 5'],
    ['"open', 'unterminated string at character 1'],
    ['(.a', 'expected ) at character 4'],
    ['.a | b + .c', 'jq has no function b at character 6'],
    ['.a b', 'expected an operator or the end at character 4'],
    ['.a[:]', 'expected a bound of the slice at character 5'],
    ['. as $a | $b', 'the variable $b is not defined at character 11'],
    ['text', 'text is not a jq filter; did you mean .text?'],
    ['data.text', 'did you mean .data.text?'],
  ])('names the problem of %s, which is an error in jq too', (filter, problem) => {
    expect(problemOfFilter(filter)).toContain(problem)
    expect(expected(filter, null)).toBe(FAILED)
  })

  it.each([
    '. as [$a, {b: $c}] | $a',
    'reduce .[] as $i (0; . + $i)',
    'def f: 1; f',
    '.a |= 1',
    'try error catch .',
    '@base64 "x"',
    '{"a b": 1, (.x): 2 + 3}',
    'label $out | break $out',
    '$ENV | $__loc__',
    '.. ?// 1',
    'splits(",") | ascii',
    'length',
  ])('finds no problem in %s, which full jq may run', filter => {
    expect(problemOfFilter(filter)).toBeUndefined()
  })

  it('treats __proto__ and constructor as ordinary keys', () => {
    const record = JSON.parse('{"__proto__": {"polluted": 1}, "x": {"constructor": 2}}')
    expect(compileJq('.__proto__.polluted')!.first(record)).toBe(1)
    expect(compileJq('.x.constructor')!.first(record)).toBe(2)
    expect(compileJq('.x.toString')!.first(record)).toBeNull()
    const merged = compileJq('. + {"__proto__": {"polluted": 2}} | [keys, .__proto__.polluted]')!.first(record)
    expect(merged).toEqual([['__proto__', 'x'], 2])
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })

  it('fails with a code for an unsuitable record', () => {
    expect(() => compileJq('.a.b')!.first({ a: 1 })).toThrow(expect.objectContaining({ code: 'FIELD_MISSING' }))
    expect(() => compileJq('.[[1]]')!.first([1])).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })
})
