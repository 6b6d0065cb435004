/** The Rust library's trainer as in npm `tokenizers`: default settings only, each line of a file one sequence. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BPE, byteLevelPreTokenizer, Tokenizer } from 'tokenizers'

/** Default settings of the library. */
export const RUST_VOCAB_SIZE = 30_000

/** The merges learned by the library, as pairs of texts, and the number of distinct bytes that it saw. */
export function trainWithRust(text: string): { merges: string[][]; alphabetSize: number } {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-train-'))
  try {
    writeFileSync(join(folder, 'text.txt'), text)
    const tokenizer = new Tokenizer(BPE.empty())
    tokenizer.setPreTokenizer(byteLevelPreTokenizer(false, true))
    tokenizer.train([join(folder, 'text.txt')])
    tokenizer.save(join(folder, 'tokenizer.json'), false)
    const { vocab, merges } = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8')).model
    return { merges, alphabetSize: Object.keys(vocab).filter(token => [...token].length === 1).length }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The lines of a text with their line feeds, as the library reads files: as one batch of documents. */
export function linesOf(text: string): { bytes: Uint8Array; offsets: Uint32Array } {
  const bytes = new TextEncoder().encode(text)
  const offsets = [0]
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === 0x0a || i === bytes.length - 1) offsets.push(i + 1)
  return { bytes, offsets: Uint32Array.from(offsets) }
}
