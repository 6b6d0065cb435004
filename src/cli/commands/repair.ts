import type { Command } from 'commander'

interface RepairFlags {
  readonly output?: string
  readonly source?: string
  readonly tokenizer?: string
  readonly endOfDocument?: string
}

export function addRepairCommand(program: Command): void {
  program
    .command('repair')
    .summary('rebuild a damaged index or packed file')
    .description(
      'Rebuilds an .idx file from its source, or a .pbin file whose header or index is damaged. The damaged file is not modified.',
    )
    .argument('<file>', 'the damaged .idx or .pbin file')
    .option('-o, --output <file>', 'the repaired file; by default <name>.repaired.<extension>')
    .option('--source <file>', 'for an index: the JSONL file; by default, the file with the same name')
    .option('-t, --tokenizer <path>', 'for a packed file without index: the tokenizer it was made with')
    .option(
      '--end-of-document <token>',
      'for a packed file without index: the last token of each document, such as <|endoftext|>',
    )
    .addHelpText(
      'after',
      "\nExample:\n  penstock repair corpus.pbin --tokenizer gpt2/ --end-of-document '<|endoftext|>'\n",
    )
    .action(async (file: string, flags: RepairFlags) => {
      const { repairFile } = await import('../actions/repair.js')
      await repairFile(file, flags)
    })
}
