import type { Command } from 'commander'

interface VerifyFlags {
  readonly deep?: boolean
  readonly source?: string
  readonly tokenizer?: string
  readonly field: string
  readonly endOfDocument?: string
  readonly json?: boolean
}

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .summary('check indexes, packed files, checkpoints and folders of them')
    .description(
      'Reads indexes, packed files and checkpoints through and holds them against their form, their manifests and hashes. Exit code 1 when something is damaged.',
    )
    .argument('<path...>', 'files or folders')
    .option('--source <file>', 'the JSONL file; that with the same name when absent')
    .option('-t, --tokenizer <path>', 'the tokenizer that the tokens should be of')
    .option('--deep', 'make everything anew from the source, in memory, and compare')
    .option('--field <filter>', 'with --deep: the field that was tokenized, as a jq filter', '.text')
    .option(
      '--end-of-document <token>',
      'with --deep: the token behind each document; what the manifest tells when absent',
    )
    .option('--json', 'one JSON line for each file')
    .addHelpText(
      'after',
      '\nExample:\n  penstock verify corpus.pbin --tokenizer gpt2/\n  penstock verify corpus.pbin --tokenizer gpt2/ --deep --source corpus.jsonl\n',
    )
    .action(async (paths: string[], flags: VerifyFlags) => {
      const { printVerdicts } = await import('../actions/verify.js')
      await printVerdicts(paths, flags, flags.json === true)
    })
}
