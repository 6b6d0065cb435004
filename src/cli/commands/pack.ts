import type { Command } from 'commander'
import type { PlanFlags } from '../actions/cluster/plan-shards.js'
import type { PackFlags } from '../actions/pack.js'
import {
  addFaultOptions,
  addOutputOptions,
  delimiterOption,
  orderOption,
  shardFolderOption,
  shardsOption,
  textOption,
} from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'

export function addPackCommand(program: Command): void {
  const command = program
    .command('pack')
    .summary('tokenize a corpus into a packed .pbin file')
    .description(
      'Tokenizes one field of each record into a packed file. Sources are files, folders, glob patterns and @lists, in any mix: JSONL (also .gz and .zst), JSON arrays, Parquet, Arrow, CSV, TSV, WARC and plain text. With --index, indexes a single JSONL file in the same pass.',
    )
    .argument('<sources...>', 'files, folders, glob patterns, or @FILE with one of these a line')
    .requiredOption('-t, --tokenizer <path>', 'a tokenizer.json, or the folder that contains it')
    .option('-o, --output <file>', 'the packed file; by default, the source path with the extension .pbin')
    .option('--output-folder <folder>', 'write one packed file for each source, skipping those that are complete')
    .addOption(orderOption())
    .option('--index [file]', 'also write an index; by default to the source path with the extension .idx')
    .option('--field <filter>', 'the field to tokenize, as a jq filter', '.text')
    .addOption(textOption())
    .addOption(delimiterOption())
    .option('--end-of-document <token>', 'token appended to each document, such as <|endoftext|>')
    .option('--workers <count>', 'number of worker threads; by default, the number of cores', wholeNumber)
    .option(...shardsOption)
    .option(...shardFolderOption)
    .option('--memory <MB>', 'most memory for words that have been encoded, over all workers', wholeNumber)
    .addHelpText(
      'after',
      "\nExamples:\n  penstock pack corpus.jsonl --tokenizer gpt2/ --end-of-document '<|endoftext|>' --index\n  penstock pack 'shards/*.parquet' extra/ --tokenizer gpt2/ -o corpus.pbin\n",
    )
  addOutputOptions(addFaultOptions(command)).action(
    async (sources: string[], flags: PackFlags & Partial<PlanFlags>) => {
      const { packPipelines } = await import('../actions/pack.js')
      const { locateSources } = await import('../../files/source-list.js')
      const { planOrRun } = await import('../actions/cluster/plan-or-run.js')
      await locateSources(sources)
      await planOrRun('pack', await packPipelines(sources, flags), flags)
    },
  )
}
