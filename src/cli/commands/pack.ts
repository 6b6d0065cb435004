import type { Command } from 'commander'
import type { RunFlags } from '../actions/run-definition.js'
import {
  addFaultOptions,
  addOutputOptions,
  type FaultFlags,
  faultOptionsOf,
  type OutputFlags,
  withoutEnding,
} from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'

export interface PackFlags extends RunFlags, FaultFlags, OutputFlags {
  readonly tokenizer: string
  readonly output?: string
  readonly index?: string | boolean
  readonly field: string
  readonly endOfDocument?: string
  readonly workers?: number
}

export function addPackCommand(program: Command): void {
  const command = program
    .command('pack')
    .summary('tokenize a JSONL file into a packed .pbin file')
    .description(
      'Tokenizes a field of each line of a JSONL file into one packed file; with --index, indexes it too, in the same pass.',
    )
    .argument('<source>', 'the JSONL file, also .gz or .zst')
    .requiredOption('-t, --tokenizer <path>', 'a tokenizer.json, or the folder that holds one')
    .option('-o, --output <file>', 'the packed file; the name of the source with the ending .pbin when absent')
    .option('--index [file]', 'write the index too')
    .option('--field <filter>', 'the field to tokenize, as a jq filter', '.text')
    .option('--end-of-document <token>', 'token put behind each document, such as <|endoftext|>')
    .option('--workers <count>', 'worker threads; the number of cores when absent', wholeNumber)
    .addHelpText(
      'after',
      "\nExample:\n  penstock pack corpus.jsonl --tokenizer gpt2/ --end-of-document '<|endoftext|>' --index\n",
    )
  addOutputOptions(addFaultOptions(command)).action(async (source: string, flags: PackFlags) => {
    const stages = packStages(source, flags)
    const { withRangesStarted } = await import('../actions/start-ranges.js')
    await withRangesStarted(stages, async () => {
      const { definitionOf } = await import('../../pipelines/definition.js')
      const { runDefinition } = await import('../actions/run-definition.js')
      await runDefinition(definitionOf({ name: 'pack', stages }, 'penstock pack'), flags)
    })
  })
}

export function packStages(source: string, flags: PackFlags): object[] {
  const faults = faultOptionsOf(flags)
  const base = withoutEnding(source)
  const tokenize = {
    tokenizer: flags.tokenizer,
    ...(flags.endOfDocument === undefined ? {} : { end_of_document: flags.endOfDocument }),
    ...(flags.workers === undefined ? {} : { workers: flags.workers }),
    ...faults,
  }
  const lines = [{ 'read-file': { path: source } }, { 'read-lines': faults }, { 'validate-json': faults }]
  const packing = [
    { 'extract-text': { field: flags.field, ...faults } },
    { 'tokenize-batches': tokenize },
    { 'write-pbin': { path: flags.output ?? `${base}.pbin`, if_exists: flags.ifExists } },
  ]
  const path = indexOf(source, flags)
  if (path === undefined) return [...lines, ...packing]
  return [...lines, { fork: [[{ 'write-index': { path, if_exists: flags.ifExists } }], packing] }]
}

/** The index to write, if one is asked for. */
function indexOf(source: string, { index = false }: PackFlags): string | undefined {
  return index === true ? `${withoutEnding(source)}.idx` : index || undefined
}
