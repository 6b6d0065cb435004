import type { Command } from 'commander'
import { printOutput } from '../output/print.js'
import { textOption } from '../output/shared-options.js'

interface InitFlags {
  readonly output?: string
  readonly tokenizer?: string
  readonly field?: string
  readonly textPer?: 'file' | 'line'
  readonly force?: boolean
}

export function addInitCommand(program: Command): void {
  program
    .command('init')
    .summary('write a starter definition for your own corpus')
    .description(
      'Samples the first records and writes a commented definition that trains a tokenizer, packs the corpus and trains a small model. Sources are those of penstock pack: files, folders, glob patterns and @lists of JSONL, JSON, Parquet, Arrow, CSV, TSV, WARC and text.',
    )
    .argument('<sources...>', 'files, folders, glob patterns, or @FILE with one of these per line')
    .option(
      '-o, --output <file>',
      'the definition file; by default, the name of the first source with the extension .yaml',
    )
    .option('-t, --tokenizer <path>', 'use this tokenizer instead of training one')
    .option(
      '--field <filter>',
      'the field to train on, as a jq filter; by default, the string field with the most text',
    )
    .addOption(textOption())
    .option('--force', 'replace an existing definition')
    .addHelpText(
      'after',
      '\nExample:\n  penstock init corpus.jsonl\n  penstock plan corpus.yaml\n  penstock run corpus.yaml\n',
    )
    .action(async (sources: string[], flags: InitFlags) => {
      const { baseName, writeStarterDefinition } = await import('../actions/init.js')
      const output = flags.output ?? `${baseName(sources[0]!)}.yaml`
      const summary = await writeStarterDefinition(sources, output, flags)
      printOutput(`${output}: ${summary}\nnext: penstock plan ${output}\n`)
    })
}
