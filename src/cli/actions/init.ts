/** The first lines of a JSONL -> a definition to start from, with the reasons beside the choices. */
import { existsSync, statSync } from 'node:fs'
import { PenstockError } from '../../errors.js'
import { writeOver } from '../../files/durable.js'
import { readFile } from '../../stages/read-file.js'
import { withoutEnding } from '../output/shared-options.js'
import { bytes, count } from '../output/terminal.js'

const SAMPLE_BYTES = 1 << 20
const MAX_LINES = 1000
const MAX_DEPTH = 4

interface StartOptions {
  readonly tokenizer?: string
  readonly field?: string
  readonly force?: boolean
}

/** What the first lines are like. */
interface Sample {
  readonly lines: number
  readonly bytes: number
  readonly faulty: number
  /** Texts by their place in the record, as jq paths: how many, and their bytes. */
  readonly fields: ReadonlyMap<string, { readonly records: number; readonly bytes: number }>
}

/** @returns what was seen, for people. @throws FILE_MISSING, FILE_EXISTS, FIELD_MISSING, JSON_INVALID */
export async function writeStarterDefinition(source: string, output: string, options: StartOptions): Promise<string> {
  const sample = sampleLines(await firstLines(source))
  if (sample.lines === sample.faulty) {
    throw new PenstockError('JSON_INVALID', 'none of the first lines is a JSON object', { file: source })
  }
  const field = options.field ?? longestField(sample)
  if (field === undefined)
    throw new PenstockError('FIELD_MISSING', 'no field of the first lines is a text', { file: source })
  const text = definitionText(source, field, sample, options)
  if (!options.force && existsSync(output)) {
    throw new PenstockError('FILE_EXISTS', 'the definition exists: give --force, or another --output', { file: output })
  }
  await writeOver(output, text)
  const faulty = sample.faulty === 0 ? '' : `, ${sample.faulty} of them faulty`
  return `learns from ${field}, after a look at ${count(sample.lines)} lines${faulty}`
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
  // The last one is cut off, unless the file ended.
  if (size >= SAMPLE_BYTES || lines.at(-1) === '') lines.pop()
  return lines.slice(0, MAX_LINES)
}

function sampleLines(lines: readonly string[]): Sample {
  const fields = new Map<string, { records: number; bytes: number }>()
  let faulty = 0
  for (const line of lines) {
    const record = objectIn(line)
    if (record === undefined) faulty++
    else noteTexts(record, '', 0, fields)
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

function noteTexts(
  record: object,
  path: string,
  depth: number,
  fields: Map<string, { records: number; bytes: number }>,
): void {
  for (const [key, value] of Object.entries(record) as [string, unknown][]) {
    const place = /^[a-z_]\w*$/i.test(key) ? `${path}.${key}` : `${path === '' ? '.' : path}[${JSON.stringify(key)}]`
    if (typeof value === 'string') {
      const seen = fields.get(place) ?? { records: 0, bytes: 0 }
      fields.set(place, { records: seen.records + 1, bytes: seen.bytes + Buffer.byteLength(value) })
    } else if (typeof value === 'object' && value !== null && !Array.isArray(value) && depth < MAX_DEPTH) {
      noteTexts(value, place, depth + 1, fields)
    }
  }
}

/** The text that makes most of the bytes. */
function longestField({ fields }: Sample): string | undefined {
  return [...fields].toSorted(([, a], [, b]) => b.bytes - a.bytes)[0]?.[0]
}

/** Vocabulary and length of the training by the size of the file. */
function sizesFor(fileBytes: number): { vocabulary: number; width: number; layers: number; steps: number } {
  if (fileBytes < 1e6) return { vocabulary: 512, width: 64, layers: 2, steps: 200 }
  if (fileBytes < 2e7) return { vocabulary: 2048, width: 128, layers: 2, steps: 400 }
  return { vocabulary: 8192, width: 192, layers: 4, steps: 2000 }
}

/** Hardly any text has fewer tokens than one for so many bytes. */
const MAX_BYTES_PER_TOKEN = 8

/** From what a big corpus affords down to what a few lines do: the held-out share must be some batches. */
const sampleShapes = [
  { sequenceLength: 128, batchSize: 8, heldOut: 0.05 },
  { sequenceLength: 64, batchSize: 8, heldOut: 0.1 },
  { sequenceLength: 32, batchSize: 4, heldOut: 0.1 },
  { sequenceLength: 16, batchSize: 2, heldOut: 0.2 },
]
const HELD_OUT_BATCHES = 2

/** Of the last shape nothing is held out. */
function sampleShapeFor(textBytes: number) {
  const tokens = textBytes / MAX_BYTES_PER_TOKEN
  const fitting = sampleShapes.find(
    ({ sequenceLength, batchSize, heldOut }) => (heldOut * tokens) / sequenceLength >= HELD_OUT_BATCHES * batchSize + 1,
  )
  return fitting ?? { sequenceLength: 4, batchSize: 1, heldOut: 0 }
}

/** Bytes of the field in the whole source, by its share of the lines looked at. */
function textBytesOf(field: string, { fields, bytes: seen }: Sample, fileBytes: number): number {
  // What a filter makes of several fields is not known; it is no less than the smallest of them.
  const known = fields.get(field)?.bytes ?? Math.min(...[...fields.values()].map(({ bytes: size }) => size), seen)
  return (fileBytes * known) / seen
}

function definitionText(source: string, field: string, sample: Sample, { tokenizer }: StartOptions): string {
  const size = statSync(source).size
  const { vocabulary, width, layers, steps } = sizesFor(size)
  const { sequenceLength, batchSize, heldOut } = sampleShapeFor(textBytesOf(field, sample, size))
  const trained = (1 - heldOut).toFixed(2)
  const holdsOut = heldOut > 0
  const heldOutNote = holdsOut
    ? `Of the tokens the last ${Math.round(100 * heldOut)} % are held out, to see how well the model does on what it has not learnt.`
    : 'There is too little text to hold some of it out for evaluation.'
  const trainedPart = holdsOut ? `        to: ${trained}\n` : ''
  const evaluation = holdsOut
    ? `        held_out: { path: "\${output}.pbin", from: ${trained} }\n        evaluation: { every_steps: 100, batches: 8 }\n`
    : ''
  const missing = sample.lines - sample.faulty - (sample.fields.get(field)?.records ?? 0)
  const isFaulty = sample.faulty + missing > 0
  const faults = isFaulty ? `, faulty: quarantine, quarantine: "\${output}-faulty.jsonl"` : ''
  const others = [...sample.fields.keys()].filter(name => name !== field)
  const base = withoutEnding(source)
  const quoted = (text: string): string => JSON.stringify(text)
  const makeTokenizer = `  # Learns ${count(vocabulary)} pieces of words from the texts. Give --tokenizer to init to use one that you have.
  tokenizer:
    - read-file: { path: "\${source}" }
    - read-lines
    - validate-json${isFaulty ? `: { ${faults.slice(2)} }` : ''}
    - extract-text: { field: "\${field}"${faults} }
    - train-tokenizer: { path: "\${tokenizer}", vocab_size: ${vocabulary}, if_exists: override }
`
  return `# Made by penstock init from ${quoted(source)} (${bytes(size)}), after a look at its first ${count(sample.lines)} lines.
# penstock plan THIS_FILE says what it would do; penstock run THIS_FILE does it.
name: ${quoted(base.split(/[\\/]/).at(-1)!)}
variables:
  source: ${quoted(source)}
  # Where the texts stand in a record, as a jq filter.${others.length === 0 ? '' : ` Other texts: ${others.slice(0, 8).join(', ')}`}
  field: ${quoted(field)}
  # Every output begins with this.
  output: ${quoted(base)}
  tokenizer: ${quoted(tokenizer ?? `${base}-tokenizer.json`)}
  sequence_length: ${sequenceLength}
  batch_size: ${batchSize}
pipelines:
${tokenizer === undefined ? makeTokenizer : ''}  # One pass over the source: an index of its lines, and all tokens in one packed file.
  pack:
    - read-file: { path: "\${source}" }
    - read-lines
${isFaulty ? `    # ${sample.faulty} of the first lines are no JSON object and ${missing} lack the field: such lines go to a file of their own.\n` : ''}    - validate-json${isFaulty ? `: { ${faults.slice(2)} }` : ''}
    - fork:
        - - write-index: { path: "\${output}.idx", if_exists: override }
        - - extract-text: { field: "\${field}"${faults} }
          - tokenize-batches: { tokenizer: "\${tokenizer}"${tokenizer === undefined ? ', end_of_document: <|endoftext|>' : ''}${faults} }
          - write-pbin: { path: "\${output}.pbin", if_exists: override }
  # ${heldOutNote}
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
        # More steps, more layers or a greater width learn more and take longer.
        steps: ${steps}
        optimizer: { learning_rate: 3.0e-3 }
        schedule: { decay: cosine, warmup_steps: 20 }
${evaluation}        # A stopped run goes on from here. penstock generate FOLDER continues a text with the model.
        checkpoint: { folder: "\${output}-checkpoints", every_steps: 100 }
# penstock view FOLDER shows the run afterwards; --dashboard shows it while it goes on.
monitoring:
  folder: "\${output}-run"
  jsonl: true
`
}
