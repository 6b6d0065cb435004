/** Writes a commented starter definition based on the first records of a corpus. */
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { PenstockError } from '../../errors.js'
import { refuseInputs, tokenizerFilesAt } from '../../files/file-identity.js'
import { OutputLock } from '../../files/output-lock.js'
import { isRemote } from '../../files/remote/remote-name.js'
import { writeOver } from '../../files/replace-file.js'
import { lockPathOf } from '../../files/side-files.js'
import { locateSources } from '../../files/source-list.js'
import { compileJq } from '../../formats/jq.js'
import { suggestion } from '../../formats/message-words.js'
import { openTextExtractor } from '../../stages/extract-text.js'
import { withoutEnding } from '../output/shared-options.js'
import { bytes, count, quantity } from '../output/terminal.js'
import { checkFormatOptions, filesOf, onlyJsonl } from './read-sources.js'
import { type FormatSample, sampleSources } from './sample-sources.js'

interface StartOptions {
  readonly tokenizer?: string | undefined
  readonly field?: string
  readonly textPer?: 'file' | 'line' | undefined
  readonly force?: boolean
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
  checkFormatOptions(files, options)
  if (options.field !== undefined) await (await openTextExtractor(options.field)).close()
  const samples = await sampleSources(files, options.textPer)
  const isText = samples.every(({ format }) => format === 'text')
  requireRecords(samples)
  const field = options.field ?? longestField(samples)
  if (options.field !== undefined) requireField(samples, options.field)
  if (field === undefined) {
    const message = 'the first records contain no string field to train on'
    throw new PenstockError('FIELD_MISSING', message, { file: files[0]! })
  }
  const text = definitionText({ sources, files, samples, isText, field }, options)
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
  return `${subjectOf(samples, field, options)} (sampled ${quantity(recordsIn(samples), 'record')}${faultyText(samples)})`
}

/** @throws DATA_TOO_SMALL, JSON_INVALID */
function requireRecords(samples: readonly FormatSample[]): void {
  if (recordsIn(samples) === 0) throw new PenstockError('DATA_TOO_SMALL', 'the sources hold no records')
  if (samples.some(({ records, faulty }) => records > faulty)) return
  const fault = samples.map(sample => sample.fault).find(text => text !== undefined)
  const message = `none of the first records is a JSON object${fault === undefined ? '' : `: ${fault}`}`
  throw new PenstockError('JSON_INVALID', message, { file: samples[0]!.files[0]! })
}

/** A plain path must be that of a string field. @throws FIELD_MISSING with the fields that there are */
function requireField(samples: readonly FormatSample[], field: string): void {
  const records = samples.filter(({ format }) => format !== 'text')
  const names = stringFields(records)
  if (
    records.length === 0 ||
    names.includes(field) ||
    compileJq(field)?.path?.every(key => typeof key === 'string') !== true
  )
    return
  const message = `no sampled record has text at ${field}: they have ${names.join(', ') || 'no string fields'}${suggestion(field, names)}`
  throw new PenstockError('FIELD_MISSING', message, { file: records[0]!.files[0]! })
}

function subjectOf(samples: readonly FormatSample[], field: string, { textPer }: StartOptions): string {
  const hasText = samples.some(({ format }) => format === 'text')
  const texts = hasText ? [textPer === 'line' ? 'each line of the text files' : 'the text of each file'] : []
  const fields = samples.every(({ format }) => format === 'text') ? [] : [`field ${field}`]
  return `trains on ${[...fields, ...texts].join(' and ')}`
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const recordsIn = (samples: readonly FormatSample[]): number => sum(samples.map(({ records }) => records))
const faultyIn = (samples: readonly FormatSample[]): number => sum(samples.map(({ faulty }) => faulty))

function faultyText(samples: readonly FormatSample[]): string {
  const faulty = faultyIn(samples)
  const first = samples.map(({ fault }) => fault).find(text => text !== undefined)
  return faulty === 0 ? '' : `, ${count(faulty)} of them faulty${first === undefined ? '' : `; the first: ${first}`}`
}

/** The string field with the most bytes; text files have none. */
function longestField(samples: readonly FormatSample[]): string | undefined {
  const records = samples.filter(({ format }) => format !== 'text')
  const names = stringFields(records)
  const bytesOf = (name: string): number => sum(records.map(({ fields }) => fields.get(name)?.bytes ?? 0))
  return records.length === 0 ? '.text' : names.toSorted((a, b) => bytesOf(b) - bytesOf(a))[0]
}

const stringFields = (samples: readonly FormatSample[]): string[] => [
  ...new Set(samples.flatMap(({ fields }) => [...fields.keys()])),
]

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

/** Estimated bytes of text in the whole corpus, from its share of the sample. */
function textBytesOf(field: string, samples: readonly FormatSample[]): number {
  return sum(
    samples.map(({ format, fields, records, allRecords, jsonBytes }) => {
      const name = format === 'text' ? '.text' : field
      // The output of an arbitrary filter is unknown; assume at least the size of the smallest field.
      const known =
        fields.get(name)?.bytes ?? Math.min(...[...fields.values()].map(({ bytes: size }) => size), jsonBytes)
      return (known * allRecords) / Math.max(1, records)
    }),
  )
}

interface Corpus {
  /** As the user named them. */
  readonly sources: readonly string[]
  readonly files: readonly string[]
  readonly samples: readonly FormatSample[]
  /** Whether all files are plain text, which has no fields. */
  readonly isText: boolean
  readonly field: string
}

function definitionText(
  { sources, files, samples, isText, field }: Corpus,
  { tokenizer, textPer }: StartOptions,
): string {
  const file = onlyJsonl(files)
  const size = sum(samples.map(sample => sample.bytes))
  const { vocabulary, width, layers, steps } = sizesFor(size)
  const { sequenceLength, batchSize, heldOut } = sampleShapeFor(textBytesOf(field, samples))
  const trained = (1 - heldOut).toFixed(2)
  const holdsOut = heldOut > 0
  const heldOutNote = holdsOut
    ? `The last ${Math.round(100 * heldOut)} % of the samples are held out to evaluate the model on unseen text.`
    : 'Too little text to hold out a part for evaluation.'
  const trainedPart = holdsOut ? `        to: ${trained}\n` : ''
  const evaluation = holdsOut
    ? `        held_out: { path: "\${output}.pbin", from: ${trained} }\n        evaluation: { every_steps: 100, batches: 8 }\n`
    : ''
  const faulty = faultyIn(samples)
  const records = samples.filter(({ format }) => format !== 'text')
  const missing = sum(records.map(sample => sample.records - sample.faulty - (sample.fields.get(field)?.records ?? 0)))
  // A record that was not sampled may be faulty, too.
  const isSampled = samples.some(sample => !sample.isWhole)
  const isFaulty = faulty + missing > 0 || isSampled
  const faults = isFaulty ? `, faulty: quarantine, quarantine: "\${output}-faulty.jsonl"` : ''
  const others = stringFields(records).filter(name => name !== field)
  const base = baseName(sources[0]!)
  const source = file ?? sources[0]!
  const quoted = (text: string): string => JSON.stringify(text)
  const sampled = isSampled ? `Of ${quantity(recordsIn(samples), 'sampled record')}, ` : 'Of all records, '
  const faultNote = isFaulty
    ? `    # ${sampled}${count(faulty)} are faulty and ${count(missing)} lack the field. Such records are written to the quarantine file
    # and counted; with faulty: fail, the first one ends the run.\n`
    : ''
  const { texts, pack } = readingStages({ sources, isText }, file, { tokenizer, textPer }, faults)
  const fieldVariable = isText
    ? ''
    : `  # The field to train on, as a jq filter.${others.length === 0 ? '' : ` Other string fields: ${others.slice(0, 8).join(', ')}`}
  field: ${quoted(field)}
`
  const makeTokenizer = `  # Trains a BPE tokenizer with ${count(vocabulary)} tokens. To use an existing one, pass --tokenizer to penstock init.
  tokenizer:
${texts}    - train-tokenizer: { path: "\${tokenizer}", vocab_size: ${vocabulary}, if_exists: override }
`
  return `# Generated by penstock init from ${count(recordsIn(samples))} records of ${sources.map(quoted).join(', ')} (${bytes(size)}).
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
  { sources, isText }: Pick<Corpus, 'sources' | 'isText'>,
  file: string | undefined,
  { tokenizer, textPer }: StartOptions,
  faults: string,
): { readonly texts: string; readonly pack: string } {
  const end = tokenizer === undefined ? ', end_of_document: <|endoftext|>' : ''
  const tokens = [
    `- tokenize-batches: { tokenizer: "\${tokenizer}"${end}${faults} }\n`,
    `- write-pbin: { path: "\${output}.pbin", if_exists: override }\n`,
  ]
  if (file === undefined) {
    const names = [`"\${source}"`, ...sources.slice(1).map(name => JSON.stringify(name))].join(', ')
    const field = isText ? '' : `, field: "\${field}"`
    const unit = textPer === undefined ? '' : `, text_per: ${textPer}`
    const texts = `    - read-corpus: { sources: [${names}]${field}${unit}${faults} }\n`
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

/**
 * A name for the outputs: that of the first source without its ending, or of the folder in front of a pattern. Outputs of
 * remote sources go to the working directory.
 */
export function baseName(source: string): string {
  const plain = source
    .replace(/^@/, '')
    .replace(/[\\/]?[^\\/]*[*?[{].*$/, '')
    .replace(/[\\/]+$/, '')
  if (isRemote(source)) return withoutEnding(basename(plain))
  return withoutEnding(plain === '' || plain === '.' ? 'corpus' : plain)
}
