/** First stages of a command that reads text: a chain that can be fused for one JSONL file, `read-corpus` otherwise. */
import { formatOf, requireFormat } from '../../files/source-format.js'
import { listOnce, type SourceOrder } from '../../files/source-list.js'
import { rejectUnused } from '../output/unused-flags.js'

export interface SourceFlags {
  readonly field: string
  readonly order?: SourceOrder
  readonly textPer?: 'file' | 'line' | undefined
  readonly delimiter?: string | undefined
}

/** The files that the arguments of a command name. @throws FILE_MISSING, FILE_UNREADABLE */
export const filesOf = (sources: readonly string[], order: SourceOrder | undefined): readonly string[] =>
  sources.length === 1 && sources[0] === '-' ? ['-'] : listOnce(sources, order)

/** The path of the only source if that is a JSONL file. @throws FILE_MISSING, UNSUPPORTED */
export function onlyJsonl(files: readonly string[]): string | undefined {
  const [file] = files
  return files.length === 1 && requireFormat(file!) === 'jsonl' ? file : undefined
}

/** @param faults options for faulty records, given to each stage that may find some */
export function textStages(sources: readonly string[], flags: SourceFlags, faults: object): object[] {
  const { field, order } = flags
  const files = filesOf(sources, order)
  checkFormatOptions(files, flags)
  const file = onlyJsonl(files)
  if (file === undefined) {
    const options = { ...(order === undefined ? {} : { order }), ...formatOptionsOf(flags) }
    return [{ 'read-corpus': { sources, ...options, field, ...faults } }]
  }
  return jsonlStages(file, field, faults)
}

/** `textStages` for one JSONL file. */
export function jsonlStages(path: string, field: string, faults: object): object[] {
  return [
    { 'read-file': { path } },
    { 'read-lines': faults },
    { 'validate-json': faults },
    { 'extract-text': { field, ...faults } },
  ]
}

/** @throws ARGUMENT_INVALID for `--text-per` and `--delimiter` where no file is of their formats */
export function checkFormatOptions(files: readonly string[], flags: Pick<SourceFlags, 'textPer' | 'delimiter'>): void {
  const formats = new Set(files.map(formatOf))
  if (!formats.has('text')) rejectUnused(flags, ['textPer'], 'without plain text files (.txt, .md)')
  if (!formats.has('csv') && !formats.has('tsv')) rejectUnused(flags, ['delimiter'], 'without tables (.csv, .tsv)')
}

const formatOptionsOf = ({ textPer, delimiter }: SourceFlags): object => ({
  ...(textPer === undefined ? {} : { text_per: textPer }),
  ...(delimiter === undefined ? {} : { delimiter }),
})
