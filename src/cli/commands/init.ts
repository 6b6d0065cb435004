import type { Command } from 'commander'

interface InitFlags {
  readonly output?: string
  readonly tokenizer?: string
  readonly field?: string
  readonly force?: boolean
}

export function addInitCommand(program: Command): void {
  program
    .command('init')
    .summary('write a starter definition for your own JSONL file')
    .description(
      'Samples the first lines of a JSONL file and writes a commented definition that trains a tokenizer, packs the file and trains a small model.',
    )
    .argument('<source>', 'the JSONL file, optionally .gz or .zst')
    .option('-o, --output <file>', 'the definition file; by default, the source path with the extension .yaml')
    .option('-t, --tokenizer <path>', 'use this tokenizer instead of training one')
    .option(
      '--field <filter>',
      'the field to train on, as a jq filter; by default, the string field with the most text',
    )
    .option('--force', 'replace an existing definition')
    .addHelpText(
      'after',
      '\nExample:\n  penstock init corpus.jsonl\n  penstock plan corpus.yaml\n  penstock run corpus.yaml\n',
    )
    .action(async (source: string, flags: InitFlags) => {
      const { writeStarterDefinition } = await import('../actions/init.js')
      const { withoutEnding } = await import('../output/shared-options.js')
      const output = flags.output ?? `${withoutEnding(source)}.yaml`
      const summary = await writeStarterDefinition(source, output, flags)
      process.stdout.write(`${output}: ${summary}\nnext: penstock plan ${output}\n`)
    })
}
