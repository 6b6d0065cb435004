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
      'Rebuilds an .idx from its source, or a .pbin whose header or index is lost. The damaged file is only read.',
    )
    .argument('<file>', 'the .idx or .pbin file')
    .option('-o, --output <file>', 'the repaired file; <name>.repaired.<ending> when absent')
    .option('--source <file>', 'for an index: the JSONL file; that with the same name when absent')
    .option('-t, --tokenizer <path>', 'for a packed file without index: the tokenizer')
    .option('--end-of-document <token>', 'and the token behind each document, such as <|endoftext|>')
    .addHelpText(
      'after',
      "\nExample:\n  penstock repair corpus.pbin --tokenizer gpt2/ --end-of-document '<|endoftext|>'\n",
    )
    .action(async (file: string, flags: RepairFlags) => {
      const { repairFile } = await import('../actions/repair.js')
      await repairFile(file, flags)
    })
}
