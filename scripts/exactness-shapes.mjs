// Compares the shapes of exactness/shapes.mjs with the Rust library: ids and decoded texts, with small vocabularies trained
// here on some texts and compared on others. After a build:
//   node scripts/exactness-shapes.mjs [--texts 300] [--only TEXT]
// Exit code 1 on any difference or rejected shape.
import { parseArgs } from 'node:util'
import { SHAPES } from './exactness/shapes.mjs'
import { trainedFile } from './exactness/train-small.mjs'
import { compare } from './fuzz/compare.mjs'
import { randomFrom } from './fuzz/random.mjs'
import { randomText } from './fuzz/random-text.mjs'

const { values } = parseArgs({
  options: { texts: { type: 'string', default: '300' }, only: { type: 'string', default: '' } },
})
const count = Number(values.texts)
const SENTENCES = [
  "The quick brown fox can't jump over 13 lazy dogs, they're 1,234.5 km away!",
  'Der Größenwahn, naïve café — élève; 漢字とカタカナ、ひらがな。',
  'ΟΔΟΣ ὈΔΥΣΣΕΎΣ İstanbul ISPARTA  two  spaces\n\n\tnew line\r\n',
  'def f(x_y):\n    return x_y ** 2  # comment\n',
  'Привет, мир! שלום عربي नमस्ते 한국어 ไทย 👩‍👩‍👧 e\u0301 ﬁ ① ½ 𠀀',
]

const random = randomFrom(23)
const texts = Array.from({ length: count }, (_, at) => {
  const sentence = random.pick(SENTENCES)
  return at % 3 === 0 ? randomText(random, SENTENCES, 12) : sentence.slice(random.below(20)) + randomText(random, [], 8)
})
const training = [...SENTENCES, ...random.list(60, () => randomText(random, SENTENCES, 10).toWellFormed())]

let faults = 0
for (const [name, shape] of Object.entries(SHAPES)) {
  if (!name.includes(values.only)) continue
  const file = trainedFile(shape, training)
  const pieces = file.added_tokens.map(({ content }) => content)
  const withTokens = texts.map((text, at) =>
    at % 4 === 0 ? `${text}${random.pick(['', ' '])}${random.pick(pieces) ?? ''} ${text.slice(0, 9)}` : text,
  )
  const ids = random.list(count, () => random.list(random.below(12), () => random.below(300)))
  const result = await compare(file, withTokens, ids)
  const isSame = result.texts !== undefined
  if (!isSame) faults++
  const outcome = isSame ? `${result.texts} texts, ${result.errors} errors; ${result.engine}` : JSON.stringify(result)
  process.stdout.write(`${name}: ${outcome.slice(0, 700)}\n`)
}
process.stdout.write(`${Object.keys(SHAPES).length} shapes, ${faults} with differences or rejected\n`)
process.exitCode = faults > 0 ? 1 : 0
