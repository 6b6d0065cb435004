import { Argument, type Command } from 'commander'

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .summary('print a script that completes commands in your shell')
    .description('Prints a completion script for a shell.')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      '\nExample:\n  penstock completion bash > ~/.local/share/bash-completion/completions/penstock\n',
    )
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const { completionScript } = await import('../actions/completion.js')
      process.stdout.write(completionScript(shell, program))
    })
}
