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
    .summary('write a first definition for your own JSONL')
    .description(
      'Looks at the first lines of a JSONL file and writes a commented definition that makes a tokenizer, packs the file and trains a small model on it.',
    )
    .argument('<source>', 'the JSONL file, also .gz or .zst')
    .option('-o, --output <file>', 'the definition; the name of the source with the ending .yaml when absent')
    .option('-t, --tokenizer <path>', 'use this tokenizer instead of making one')
    .option('--field <filter>', 'the field to learn from, as a jq filter; the longest text when absent')
    .option('--force', 'replace the definition if it exists')
    .addHelpText(
      'after',
      '\nExample:\n  penstock init corpus.jsonl\n  penstock plan corpus.yaml\n  penstock run corpus.yaml\n',
    )
    .action(async (source: string, flags: InitFlags) => {
      const { writeStarterDefinition } = await import('../actions/init.js')
      const { withoutEnding } = await import('../output/shared-options.js')
      const output = flags.output ?? `${withoutEnding(source)}.yaml`
      const seen = await writeStarterDefinition(source, output, flags)
      process.stdout.write(`${output}: ${seen}\nnext: penstock plan ${output}\n`)
    })
}
