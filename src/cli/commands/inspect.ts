import type { Command } from 'commander'

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .summary('say what is in an .idx, a .pbin or a checkpoint')
    .description('Reads an .idx, a .pbin or a checkpoint folder through and says what is in it.')
    .argument('<path>', 'the file or folder')
    .option('--json', 'as JSON')
    .option('--tokenizer <path>', 'show the first documents of a .pbin as text')
    .addHelpText('after', '\nExample:\n  penstock inspect corpus.pbin --tokenizer gpt2/\n')
    .action(async (path: string, options: { json?: boolean; tokenizer?: string }) => {
      const { inspectPath } = await import('../actions/inspect.js')
      const facts = await inspectPath(path, options.tokenizer)
      const width = Math.max(...Object.keys(facts).map(name => name.length))
      const lines = Object.entries(facts).map(([name, value]) => `${name.padEnd(width)}  ${String(value)}`)
      process.stdout.write(options.json ? `${JSON.stringify(facts, null, 2)}\n` : `${lines.join('\n')}\n`)
    })
}
