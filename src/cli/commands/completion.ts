import { Argument, type Command } from 'commander'
import { printOutput } from '../output/print.js'

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .summary('print a completion script for your shell')
    .description('Prints a script that completes penstock commands, options and files in a shell.')
    .addArgument(new Argument('<shell>', 'shell to generate the script for').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      '\nExample:\n  penstock completion bash > ~/.local/share/bash-completion/completions/penstock\n',
    )
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const { completionScript } = await import('../actions/completion.js')
      printOutput(completionScript(shell, program))
    })
}
