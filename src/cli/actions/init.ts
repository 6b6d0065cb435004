/** Writes a commented starter definition based on the first lines of a JSONL file. */
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

/** Statistics of the first lines. */
interface Sample {
  readonly lines: number
  readonly bytes: number
  readonly faulty: number
  /** String fields by jq path: how many records have them, and their total bytes. */
  readonly fields: ReadonlyMap<string, { readonly records: number; readonly bytes: number }>
}

/** @returns a human-readable summary of the sample. @throws FILE_MISSING, FILE_EXISTS, FIELD_MISSING, JSON_INVALID */
export async function writeStarterDefinition(source: string, output: string, options: StartOptions): Promise<string> {
  const sample = sampleLines(await firstLines(source))
  if (sample.lines === sample.faulty) {
    throw new PenstockError('JSON_INVALID', 'none of the first lines is a JSON object', { file: source })
  }
  const field = options.field ?? longestField(sample)
  if (field === undefined) {
    throw new PenstockError('FIELD_MISSING', 'the first lines contain no string field to train on', { file: source })
  }
  const text = definitionText(source, field, sample, options)
  if (!options.force && existsSync(output)) {
    throw new PenstockError(
      'FILE_EXISTS',
      'the definition already exists: pass --force to replace it, or choose another --output',
      { file: output },
    )
  }
  await writeOver(output, text)
  const faulty = sample.faulty === 0 ? '' : `, ${count(sample.faulty)} of them faulty`
  return `trains on field ${field} (sampled the first ${count(sample.lines)} lines${faulty})`
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

function definitionText(source: string, field: string, sample: Sample, { tokenizer }: StartOptions): string {
  const size = statSync(source).size
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
  const base = withoutEnding(source)
  const quoted = (text: string): string => JSON.stringify(text)
  const makeTokenizer = `  # Trains a BPE tokenizer with ${count(vocabulary)} tokens. To use an existing one, pass --tokenizer to penstock init.
  tokenizer:
    - read-file: { path: "\${source}" }
    - read-lines
    - validate-json${isFaulty ? `: { ${faults.slice(2)} }` : ''}
    - extract-text: { field: "\${field}"${faults} }
    - train-tokenizer: { path: "\${tokenizer}", vocab_size: ${vocabulary}, if_exists: override }
`
  return `# Generated by penstock init from the first ${count(sample.lines)} lines of ${quoted(source)} (${bytes(size)}).
# penstock plan THIS_FILE previews the run; penstock run THIS_FILE starts it.
name: ${quoted(base.split(/[\\/]/).at(-1)!)}
variables:
  source: ${quoted(source)}
  # The field to train on, as a jq filter.${others.length === 0 ? '' : ` Other string fields: ${others.slice(0, 8).join(', ')}`}
  field: ${quoted(field)}
  # Prefix of all output paths.
  output: ${quoted(base)}
  tokenizer: ${quoted(tokenizer ?? `${base}-tokenizer.json`)}
  sequence_length: ${sequenceLength}
  batch_size: ${batchSize}
pipelines:
${tokenizer === undefined ? makeTokenizer : ''}  # One pass over the source writes an index of its lines and a packed file of its tokens.
  pack:
    - read-file: { path: "\${source}" }
    - read-lines
${isFaulty ? `    # ${count(sample.faulty)} of the sampled lines are not JSON objects and ${count(missing)} lack the field; such records are written to the quarantine file.\n` : ''}    - validate-json${isFaulty ? `: { ${faults.slice(2)} }` : ''}
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
