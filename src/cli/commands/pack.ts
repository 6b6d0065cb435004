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
      'Tokenizes one field of each line of a JSONL file into a packed file. With --index, indexes the source in the same pass.',
    )
    .argument('<source>', 'the JSONL file, optionally .gz or .zst')
    .requiredOption('-t, --tokenizer <path>', 'a tokenizer.json, or the folder that contains it')
    .option('-o, --output <file>', 'the packed file; by default, the source path with the extension .pbin')
    .option('--index [file]', 'also write an index; by default to the source path with the extension .idx')
    .option('--field <filter>', 'the field to tokenize, as a jq filter', '.text')
    .option('--end-of-document <token>', 'token appended to each document, such as <|endoftext|>')
    .option('--workers <count>', 'number of worker threads; by default, the number of cores', wholeNumber)
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

/** Path of the index, if --index is given. */
function indexOf(source: string, { index = false }: PackFlags): string | undefined {
  return index === true ? `${withoutEnding(source)}.idx` : index || undefined
}
