/** First stages of a command that reads text: a chain that can be fused for one JSONL file, `read-corpus` otherwise. */
import { requireFormat } from '../../files/source-format.js'
import { listSources, type SourceOrder } from '../../files/source-list.js'

export interface SourceFlags {
  readonly field: string
  readonly order?: SourceOrder
}

/** The files that the arguments of a command name. @throws FILE_MISSING, FILE_UNREADABLE */
export const filesOf = (sources: readonly string[], order: SourceOrder | undefined): readonly string[] =>
  sources.length === 1 && sources[0] === '-' ? ['-'] : listSources(sources, order)

/** The path of the only source if that is a JSONL file. @throws FILE_MISSING, UNSUPPORTED */
export function onlyJsonl(files: readonly string[]): string | undefined {
  const [file] = files
  return files.length === 1 && requireFormat(file!) === 'jsonl' ? file : undefined
}

/** @param faults options for faulty records, given to each stage that may find some */
export function textStages(sources: readonly string[], { field, order }: SourceFlags, faults: object): object[] {
  const file = onlyJsonl(filesOf(sources, order))
  if (file === undefined) {
    return [{ 'read-corpus': { sources: [...sources], ...(order === undefined ? {} : { order }), field, ...faults } }]
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
