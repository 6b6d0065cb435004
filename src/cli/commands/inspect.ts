import type { Command } from 'commander'
import { printOutput } from '../output/print.js'
import { textOption } from '../output/shared-options.js'

interface InspectFlags {
  readonly json?: boolean
  readonly tokenizer?: string
  readonly textPer?: 'file' | 'line'
}

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .summary('summarize a corpus, an .idx, .pbin or .pack file, a tokenizer or a checkpoint')
    .description(
      'Reads an .idx, .pbin or .pack file, a tokenizer or a checkpoint folder and prints a summary of its contents; of a tokenizer, also the engine that runs it. Of a corpus, in the form of the sources of penstock pack, it samples the records: formats, counts, string fields and faults.',
    )
    .argument('<paths...>', 'the file or folder, or the sources of a corpus')
    .option('--json', 'print JSON')
    .option('--tokenizer <path>', 'tokenizer of a .pbin file, to show its first documents as text')
    .addOption(textOption())
    .addHelpText('after', '\nExamples:\n  penstock inspect corpus.pbin --tokenizer gpt2/\n  penstock inspect shards/\n')
    .action(async (paths: string[], options: InspectFlags) => {
      const { inspectPaths } = await import('../actions/inspect.js')
      const facts = await inspectPaths(paths, options)
      const width = Math.max(...Object.keys(facts).map(name => name.length))
      const lines = Object.entries(facts).map(([name, value]) => `${name.padEnd(width)}  ${String(value)}`)
      printOutput(options.json ? `${JSON.stringify(facts, null, 2)}\n` : `${lines.join('\n')}\n`)
    })
}
