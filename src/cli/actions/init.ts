/** Writes a commented starter definition based on the first records of a corpus. */
import { existsSync, statSync } from 'node:fs'
import { PenstockError } from '../../errors.js'
import { refuseInputs, tokenizerFilesAt } from '../../files/file-identity.js'
import { OutputLock } from '../../files/output-lock.js'
import { writeOver } from '../../files/replace-file.js'
import { lockPathOf } from '../../files/side-files.js'
import { requireFormat } from '../../files/source-format.js'
import { locateSources } from '../../files/source-list.js'
import type { DocumentBatch } from '../../formats/batches.js'
import { readCorpus } from '../../stages/read-corpus.js'
import { readFile } from '../../stages/read-file.js'
import { withoutEnding } from '../output/shared-options.js'
import { bytes, count } from '../output/terminal.js'
import { filesOf, onlyJsonl } from './read-sources.js'

const SAMPLE_BYTES = 1 << 20
const MAX_LINES = 1000
const MAX_DEPTH = 4

interface StartOptions {
  readonly tokenizer?: string
  readonly field?: string
  readonly force?: boolean
}

/** Statistics of the first lines. */
interface Sample {
  readonly lines: number
  readonly bytes: number
  readonly faulty: number
  /** String fields by jq path: how many records have them, and their total bytes. */
  readonly fields: ReadonlyMap<string, { readonly records: number; readonly bytes: number }>
}

/** @returns a human-readable summary of the sample. @throws FILE_MISSING, FILE_EXISTS, FIELD_MISSING, JSON_INVALID */
export async function writeStarterDefinition(
  sources: readonly string[],
  output: string,
  options: StartOptions,
): Promise<string> {
  await locateSources(sources)
  const files = filesOf(sources, 'name')
  if (files.includes('-')) {
    throw new PenstockError('ARGUMENT_INVALID', 'init reads its source twice: save standard input to a file first')
  }
  const file = onlyJsonl(files)
  const isText = files.every(path => requireFormat(path) === 'text')
  const sample = sampleLines(file === undefined ? await firstRecords(sources, isText) : await firstLines(file))
  if (sample.lines === sample.faulty) {
    throw new PenstockError('JSON_INVALID', 'none of the first records is a JSON object', { file: files[0]! })
  }
  const field = options.field ?? longestField(sample)
  if (field === undefined) {
    throw new PenstockError('FIELD_MISSING', 'the first records contain no string field to train on', {
      file: files[0]!,
    })
  }
  const text = definitionText({ sources, files, file, isText }, field, sample, options)
  if (!options.force && existsSync(output)) {
    // A run that was killed just after it published the definition has left its lock.
    if (existsSync(lockPathOf(output))) await (await OutputLock.acquire(output)).release()
    throw new PenstockError(
      'FILE_EXISTS',
      'the definition already exists: pass --force to replace it, or choose another --output',
      { file: output },
    )
  }
  refuseInputs([output], [...files, ...(options.tokenizer === undefined ? [] : tokenizerFilesAt(options.tokenizer))])
  await writeOver(output, text)
  const faulty = sample.faulty === 0 ? '' : `, ${count(sample.faulty)} of them faulty`
  const what = isText ? 'the text of each file' : `field ${field}`
  return `trains on ${what} (sampled the first ${count(sample.lines)} records${faulty})`
}

async function firstLines(source: string): Promise<string[]> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of readFile({ path: source }) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk)
    size += chunk.byteLength
    if (size >= SAMPLE_BYTES) break
  }
  const lines = new TextDecoder().decode(Buffer.concat(chunks)).split('\n')
  // Drop the last line: it is incomplete, or empty after the final newline.
  if (size >= SAMPLE_BYTES || lines.at(-1) === '') lines.pop()
  return lines.slice(0, MAX_LINES)
}

/** The first records of any format, as JSON; texts as records with the field `text`. */
async function firstRecords(sources: readonly string[], isText: boolean): Promise<string[]> {
  const records: string[] = []
  let size = 0
  const documents = readCorpus({ sources: [...sources], field: 'tojson', faulty: 'skip' })
  for await (const { bytes, offsets } of documents as AsyncIterable<DocumentBatch>) {
    for (let index = 0; index < offsets.length - 1 && records.length < MAX_LINES; index++) {
      const text = Buffer.from(bytes.subarray(offsets[index], offsets[index + 1])).toString('utf8')
      records.push(isText ? JSON.stringify({ text }) : text)
      size += text.length
    }
    if (size >= SAMPLE_BYTES || records.length >= MAX_LINES) break
  }
  return records
}

function sampleLines(lines: readonly string[]): Sample {
  const fields = new Map<string, { records: number; bytes: number }>()
  let faulty = 0
  for (const line of lines) {
    const record = objectIn(line)
    if (record === undefined) faulty++
    else addStringFields(record, '', 0, fields)
  }
  const size = lines.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0)
  return { lines: lines.length, bytes: size, faulty, fields }
}

function objectIn(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

function addStringFields(
  record: object,
  path: string,
  depth: number,
  fields: Map<string, { records: number; bytes: number }>,
): void {
  for (const [key, value] of Object.entries(record) as [string, unknown][]) {
    const fieldPath = /^[a-z_]\w*$/i.test(key)
      ? `${path}.${key}`
      : `${path === '' ? '.' : path}[${JSON.stringify(key)}]`
    if (typeof value === 'string') {
      const total = fields.get(fieldPath) ?? { records: 0, bytes: 0 }
      fields.set(fieldPath, { records: total.records + 1, bytes: total.bytes + Buffer.byteLength(value) })
    } else if (typeof value === 'object' && value !== null && !Array.isArray(value) && depth < MAX_DEPTH) {
      addStringFields(value, fieldPath, depth + 1, fields)
    }
  }
}

/** The string field with the most bytes. */
function longestField({ fields }: Sample): string | undefined {
  return [...fields].toSorted(([, a], [, b]) => b.bytes - a.bytes)[0]?.[0]
}

/** Vocabulary, model size and steps, chosen by the size of the file. */
function sizesFor(fileBytes: number): { vocabulary: number; width: number; layers: number; steps: number } {
  if (fileBytes < 1e6) return { vocabulary: 512, width: 64, layers: 2, steps: 200 }
  if (fileBytes < 2e7) return { vocabulary: 2048, width: 128, layers: 2, steps: 400 }
  return { vocabulary: 8192, width: 192, layers: 4, steps: 2000 }
}

/** Upper limit for almost any text: gives the smallest plausible token count. */
const MAX_BYTES_PER_TOKEN = 8

/** Shapes from a large corpus down to a few lines; the held-out share must fill several batches. */
const sampleShapes = [
  { sequenceLength: 128, batchSize: 8, heldOut: 0.05 },
  { sequenceLength: 64, batchSize: 8, heldOut: 0.1 },
  { sequenceLength: 32, batchSize: 4, heldOut: 0.1 },
  { sequenceLength: 16, batchSize: 2, heldOut: 0.2 },
]
const HELD_OUT_BATCHES = 2

/** Falls back to a tiny shape without held-out data. */
function sampleShapeFor(textBytes: number) {
  const tokens = textBytes / MAX_BYTES_PER_TOKEN
  const fitting = sampleShapes.find(
    ({ sequenceLength, batchSize, heldOut }) => (heldOut * tokens) / sequenceLength >= HELD_OUT_BATCHES * batchSize + 1,
  )
  return fitting ?? { sequenceLength: 4, batchSize: 1, heldOut: 0 }
}

/** Estimated bytes of the field in the whole source, from its share of the sample. */
function textBytesOf(field: string, { fields, bytes: sampled }: Sample, fileBytes: number): number {
  // The output of an arbitrary filter is unknown; assume at least the size of the smallest field.
  const known = fields.get(field)?.bytes ?? Math.min(...[...fields.values()].map(({ bytes: size }) => size), sampled)
  return (fileBytes * known) / sampled
}

interface Corpus {
  /** As the user named them. */
  readonly sources: readonly string[]
  readonly files: readonly string[]
  /** The only file, if it is JSONL. */
  readonly file: string | undefined
  /** Whether all files are plain text, which has no fields. */
  readonly isText: boolean
}

function definitionText(
  { sources, files, file, isText }: Corpus,
  field: string,
  sample: Sample,
  { tokenizer }: StartOptions,
): string {
  const size = files.reduce((sum, path) => sum + statSync(path).size, 0)
  const { vocabulary, width, layers, steps } = sizesFor(size)
  const { sequenceLength, batchSize, heldOut } = sampleShapeFor(textBytesOf(field, sample, size))
  const trained = (1 - heldOut).toFixed(2)
  const holdsOut = heldOut > 0
  const heldOutNote = holdsOut
    ? `The last ${Math.round(100 * heldOut)} % of the samples are held out to evaluate the model on unseen text.`
    : 'Too little text to hold out a part for evaluation.'
  const trainedPart = holdsOut ? `        to: ${trained}\n` : ''
  const evaluation = holdsOut
    ? `        held_out: { path: "\${output}.pbin", from: ${trained} }\n        evaluation: { every_steps: 100, batches: 8 }\n`
    : ''
  const missing = sample.lines - sample.faulty - (sample.fields.get(field)?.records ?? 0)
  const isFaulty = sample.faulty + missing > 0
  const faults = isFaulty ? `, faulty: quarantine, quarantine: "\${output}-faulty.jsonl"` : ''
  const others = [...sample.fields.keys()].filter(name => name !== field)
  const base = baseName(sources[0]!)
  const source = file ?? sources[0]!
  const quoted = (text: string): string => JSON.stringify(text)
  const faultNote = isFaulty
    ? `    # ${count(sample.faulty)} of the sampled records are not JSON objects and ${count(missing)} lack the field; such records are written to the quarantine file.\n`
    : ''
  const { texts, pack } = readingStages({ sources, file, isText }, tokenizer === undefined, faults)
  const fieldVariable = isText
    ? ''
    : `  # The field to train on, as a jq filter.${others.length === 0 ? '' : ` Other string fields: ${others.slice(0, 8).join(', ')}`}
  field: ${quoted(field)}
`
  const makeTokenizer = `  # Trains a BPE tokenizer with ${count(vocabulary)} tokens. To use an existing one, pass --tokenizer to penstock init.
  tokenizer:
${texts}    - train-tokenizer: { path: "\${tokenizer}", vocab_size: ${vocabulary}, if_exists: override }
`
  return `# Generated by penstock init from the first ${count(sample.lines)} records of ${sources.map(quoted).join(', ')} (${bytes(size)}).
# penstock plan THIS_FILE previews the run; penstock run THIS_FILE starts it.
name: ${quoted(base.split(/[\\/]/).at(-1)!)}
variables:
  source: ${quoted(source)}
${fieldVariable}  # Prefix of all output paths.
  output: ${quoted(base)}
  tokenizer: ${quoted(tokenizer ?? `${base}-tokenizer.json`)}
  sequence_length: ${sequenceLength}
  batch_size: ${batchSize}
pipelines:
${tokenizer === undefined ? makeTokenizer : ''}  # ${file === undefined ? 'Writes a packed file of the tokens of all sources.' : 'One pass over the source writes an index of its lines and a packed file of its tokens.'}
  pack:
${faultNote}${pack}  # ${heldOutNote}
  train:
    - shuffle-samples:
        path: "\${output}.pbin"
        sequence_length: "\${sequence_length}"
        batch_size: "\${batch_size}"
        epochs: endless
${trainedPart}    - feed-trainer:
        tokenizer: "\${tokenizer}"
        model: { sequence_length: "\${sequence_length}", layers: ${layers}, heads: 4, width: ${width} }
        batch_size: "\${batch_size}"
        # More steps, more layers or a larger width give a better model but take longer.
        steps: ${steps}
        optimizer: { learning_rate: 3.0e-3 }
        schedule: { decay: cosine, warmup_steps: 20 }
${evaluation}        # An interrupted run resumes from here. penstock generate FOLDER generates text with the model.
        checkpoint: { folder: "\${output}-checkpoints", every_steps: 100 }
# penstock view FOLDER shows the run afterwards; the option --dashboard shows it live.
monitoring:
  folder: "\${output}-run"
  jsonl: true
`
}

/** YAML of the stages that read texts, and of those that pack them; for one JSONL file with an index of its lines. */
function readingStages(
  { sources, file, isText }: Omit<Corpus, 'files'>,
  ownTokenizer: boolean,
  faults: string,
): { readonly texts: string; readonly pack: string } {
  const end = ownTokenizer ? ', end_of_document: <|endoftext|>' : ''
  const tokens = [
    `- tokenize-batches: { tokenizer: "\${tokenizer}"${end}${faults} }\n`,
    `- write-pbin: { path: "\${output}.pbin", if_exists: override }\n`,
  ]
  if (file === undefined) {
    const names = [`"\${source}"`, ...sources.slice(1).map(name => JSON.stringify(name))].join(', ')
    const field = isText ? '' : `, field: "\${field}"`
    const texts = `    - read-corpus: { sources: [${names}]${field}${faults} }\n`
    return { texts, pack: texts + tokens.map(step => `    ${step}`).join('') }
  }
  const validate = faults === '' ? 'validate-json' : `validate-json: { ${faults.slice(2)} }`
  const lines = `    - read-file: { path: "\${source}" }\n    - read-lines\n    - ${validate}\n`
  const extract = `- extract-text: { field: "\${field}"${faults} }\n`
  const fork = `    - fork:
        - - write-index: { path: "\${output}.idx", if_exists: override }
        - ${extract}${tokens.map(step => `          ${step}`).join('')}`
  return { texts: `${lines}    ${extract}`, pack: lines + fork }
}

/** A name for the outputs: that of the first source without its ending, or of the folder in front of a pattern. */
export function baseName(source: string): string {
  const plain = source
    .replace(/^@/, '')
    .replace(/[\\/]?[^\\/]*[*?[{].*$/, '')
    .replace(/[\\/]+$/, '')
  return withoutEnding(plain === '' || plain === '.' ? 'corpus' : plain)
}
