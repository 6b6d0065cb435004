// Generates src/tokenizer/patterns/unicode-data.ts, the classes of Unicode 16 (the Rust library's regex engine), and
// unicode-crates.ts, the tables of its other Unicode versions: its standard library and grapheme clusters follow 17, scripts and
// marks 9, the categories of BERT 8. \p{...} of the JavaScript engine follows its own Unicode version and would split new
// characters differently from release to release. The data come from npm packages that are not needed at run time:
//   npm install --no-save @unicode/unicode-{8,9,16,17}.0.0 && node scripts/make-unicode-table.mjs && npx biome check --write src
// Alternatively, pass the folder that contains them: node scripts/make-unicode-table.mjs path/to/node_modules/@unicode
import { readdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const source = resolve(process.argv[2] ?? join(root, 'node_modules/@unicode'))
const LIMIT = 0x110000

const CATEGORIES = {
  Lu: 'Uppercase_Letter',
  Ll: 'Lowercase_Letter',
  Lt: 'Titlecase_Letter',
  Lm: 'Modifier_Letter',
  Lo: 'Other_Letter',
  Mn: 'Nonspacing_Mark',
  Mc: 'Spacing_Mark',
  Me: 'Enclosing_Mark',
  Nd: 'Decimal_Number',
  Nl: 'Letter_Number',
  No: 'Other_Number',
  Pc: 'Connector_Punctuation',
  Pd: 'Dash_Punctuation',
  Ps: 'Open_Punctuation',
  Pe: 'Close_Punctuation',
  Pi: 'Initial_Punctuation',
  Pf: 'Final_Punctuation',
  Po: 'Other_Punctuation',
  Sm: 'Math_Symbol',
  Sc: 'Currency_Symbol',
  Sk: 'Modifier_Symbol',
  So: 'Other_Symbol',
  Zs: 'Space_Separator',
  Zl: 'Line_Separator',
  Zp: 'Paragraph_Separator',
  Cc: 'Control',
  Cf: 'Format',
  Cs: 'Surrogate',
  Co: 'Private_Use',
  Cn: 'Unassigned',
}
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ!#%&'

async function codePoints(kind, name, version = '16.0.0') {
  const module = await import(pathToFileURL(join(source, `unicode-${version}`, kind, name, 'code-points.mjs')).href)
  return module.default
}

/** Runs of the code points of some general categories. */
async function categorySet(names, version) {
  const table = new Uint8Array(LIMIT)
  for (const name of names)
    for (const codePoint of await codePoints('General_Category', name, version)) table[codePoint] = 1
  return runs(table)
}

/** Number of the class of each code point; later classes replace earlier ones. */
async function classTable(lists) {
  const table = new Uint8Array(LIMIT)
  for (const [index, list] of lists.entries()) for (const codePoint of list) table[codePoint] = index
  return table
}

/** Two letters for each class, as there are more scripts than letters. */
function wideRuns(table) {
  let text = ''
  for (let start = 0, end = 0; start < LIMIT; start = end) {
    while (end < LIMIT && table[end] === table[start]) end++
    const [high, low] = [Math.floor(table[start] / LETTERS.length), table[start] % LETTERS.length]
    text += LETTERS[high] + LETTERS[low] + (end - start === 1 ? '' : (end - start).toString(36))
  }
  return text
}

function runs(table) {
  let text = ''
  for (let start = 0, end = 0; start < LIMIT; start = end) {
    while (end < LIMIT && table[end] === table[start]) end++
    text += LETTERS[table[start]] + (end - start === 1 ? '' : (end - start).toString(36))
  }
  return text
}

const categories = new Uint8Array(LIMIT).fill(Object.keys(CATEGORIES).indexOf('Cn'))
for (const [index, name] of Object.values(CATEGORIES).entries()) {
  for (const codePoint of await codePoints('General_Category', name)) categories[codePoint] = index
}

async function property(kind, name, version) {
  const table = new Uint8Array(LIMIT)
  for (const codePoint of await codePoints(kind, name, version)) table[codePoint] = 1
  return runs(table)
}

const quoted = text => `\n  '${text.match(/.{1,112}/g).join("' +\n  '")}'`
writeFileSync(
  join(root, 'src/tokenizer/patterns/unicode-data.ts'),
  `/**
 * Classes of Unicode 16, frozen. Written by scripts/make-unicode-table.mjs; do not edit.
 * Each text lists runs over all code points from 0: a letter for the class, then the run's length in base 36 (none: 1).
 */

/** Categories, in the order of the letters. */
export const CATEGORY_NAMES = '${Object.keys(CATEGORIES).join(' ')}'
export const RUN_LETTERS = '${LETTERS}'
export const CATEGORY_RUNS =${quoted(runs(categories))}

/** Letters of a binary property: A without it, B with it. */
export const WHITE_SPACE_RUNS =${quoted(await property('Binary_Property', 'White_Space'))}
export const ALPHABETIC_RUNS =${quoted(await property('Binary_Property', 'Alphabetic'))}
export const HAN_RUNS =${quoted(await property('Script', 'Han'))}
export const UNASSIGNED_IN_UNICODE_9_RUNS =${quoted(await property('General_Category', 'Unassigned', '9.0.0'))}
`,
)

const PUNCTUATION = Object.values(CATEGORIES).filter(name => name.endsWith('_Punctuation'))
const NUMBERS = ['Decimal_Number', 'Letter_Number', 'Other_Number']
const MARKS = ['Nonspacing_Mark', 'Spacing_Mark', 'Enclosing_Mark']

async function scriptTable() {
  const names = readdirSync(join(source, 'unicode-9.0.0/Script'))
    .filter(name => name !== 'Unknown')
    .toSorted()
  const lists = await Promise.all(names.map(name => codePoints('Script', name, '9.0.0')))
  // Hiragana, Katakana and the long vowel mark count as Han, the space as no script, as in SentencePiece.
  const table = await classTable([[], ...lists])
  const [han, hiragana, katakana] = ['Han', 'Hiragana', 'Katakana'].map(name => names.indexOf(name) + 1)
  for (let codePoint = 0; codePoint < LIMIT; codePoint++) {
    if (table[codePoint] === hiragana || table[codePoint] === katakana) table[codePoint] = han
  }
  table[0x30fc] = han
  table[0x20] = 0
  return table
}

const BREAK_CLASSES = 'CR LF Control Extend ZWJ Regional_Indicator Prepend SpacingMark L V T LV LVT'.split(' ')

/** Classes of grapheme clusters, then pictographs, then consonants and linkers of Indic conjuncts. */
async function graphemeRuns() {
  const lists = await Promise.all(BREAK_CLASSES.map(name => codePoints('Grapheme_Cluster_Break', name, '17.0.0')))
  const table = await classTable([[], ...lists])
  const extend = BREAK_CLASSES.indexOf('Extend') + 1
  const viramas = new Set([
    ...(await codePoints('Indic_Syllabic_Category', 'Virama', '17.0.0')),
    ...(await codePoints('Indic_Syllabic_Category', 'Invisible_Stacker', '17.0.0')),
  ])
  for (const codePoint of await codePoints('Binary_Property', 'Extended_Pictographic', '17.0.0')) {
    if (table[codePoint] === 0) table[codePoint] = BREAK_CLASSES.length + 1
  }
  for (const codePoint of await codePoints('Binary_Property', 'InCB', '17.0.0')) {
    if (table[codePoint] === 0) table[codePoint] = BREAK_CLASSES.length + 2
    else if (table[codePoint] === extend && viramas.has(codePoint)) table[codePoint] = BREAK_CLASSES.length + 3
  }
  return runs(table)
}

/** Ranges of lowercase mappings: distance from the start of the last one, count, step, difference. */
async function lowercaseText() {
  const simple = await codePoints('Simple_Case_Mapping', 'Lowercase', '17.0.0')
  const entries = [...simple].map(([from, to]) => [from, to - from]).sort((a, b) => a[0] - b[0])
  const parts = []
  let last = 0
  for (let at = 0; at < entries.length; ) {
    const [from, difference] = entries[at]
    const next = entries[at + 1]
    const step = next !== undefined && next[0] - from === 2 && next[1] === difference ? 2 : 1
    let count = 1
    while (entries[at + count]?.[0] === from + count * step && entries[at + count][1] === difference) count++
    parts.push([from - last, count, step, difference].map(number => number.toString(36)).join(','))
    last = from
    at += count
  }
  return parts.join(' ')
}

writeFileSync(
  join(root, 'src/tokenizer/patterns/unicode-crates.ts'),
  `/**
 * Tables of the Unicode versions that parts of the Rust library follow. Generated by scripts/make-unicode-table.mjs; do not
 * edit. The format of the runs is that of unicode-data.ts.
 */

/** Categories N of Unicode 17, for the Digits pre-tokenizer. */
export const NUMERIC_RUNS =${quoted(await categorySet(NUMBERS, '17.0.0'))}
/** Categories P of Unicode 8. */
export const PUNCTUATION_RUNS =${quoted(await categorySet(PUNCTUATION, '8.0.0'))}
/** Categories Cc, Cf and Co of Unicode 8, which BertNormalizer removes. */
export const OTHER_RUNS =${quoted(await categorySet(['Control', 'Format', 'Private_Use'], '8.0.0'))}
/** Category Mn of Unicode 8. */
export const NONSPACING_MARK_RUNS =${quoted(await categorySet(['Nonspacing_Mark'], '8.0.0'))}
/** Categories M of Unicode 9. */
export const MARK_RUNS =${quoted(await categorySet(MARKS, '9.0.0'))}
/** Scripts of Unicode 9: two letters for the script, AA for none, then the length. */
export const SCRIPT_RUNS =${quoted(wideRuns(await scriptTable()))}
/** Grapheme cluster breaks of Unicode 17: A for other, then letters in this order. */
export const GRAPHEME_CLASSES = '${BREAK_CLASSES.join(' ')} Pictographic Consonant Linker'
export const GRAPHEME_RUNS =${quoted(await graphemeRuns())}
/** Lowercase mappings of Unicode 17: distance from the start of the last range, count, step, difference, in base 36. */
export const LOWERCASE_RANGES =${quoted(await lowercaseText())}
`,
)
