import type { Command } from 'commander'
import { printOutput } from '../output/print.js'

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .summary('summarize an .idx file, a .pbin file or a checkpoint')
    .description('Reads an .idx file, a .pbin file or a checkpoint folder and prints a summary of its contents.')
    .argument('<path>', 'the file or folder')
    .option('--json', 'print JSON')
    .option('--tokenizer <path>', 'tokenizer of a .pbin file, to show its first documents as text')
    .addHelpText('after', '\nExample:\n  penstock inspect corpus.pbin --tokenizer gpt2/\n')
    .action(async (path: string, options: { json?: boolean; tokenizer?: string }) => {
      const { inspectPath } = await import('../actions/inspect.js')
      const facts = await inspectPath(path, options.tokenizer)
      const width = Math.max(...Object.keys(facts).map(name => name.length))
      const lines = Object.entries(facts).map(([name, value]) => `${name.padEnd(width)}  ${String(value)}`)
      printOutput(options.json ? `${JSON.stringify(facts, null, 2)}\n` : `${lines.join('\n')}\n`)
    })
}
