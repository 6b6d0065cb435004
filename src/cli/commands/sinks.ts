import type { Command } from 'commander'

export function addSinksCommand(program: Command): void {
  program
    .command('sinks')
    .summary("list what a definition's monitoring key may hold")
    .description(
      'Lists where metrics of a run can go, as named in the monitoring key of a definition; with a name, its options.',
    )
    .argument('[name]', 'one sink, with its options')
    .addHelpText('after', '\nExample:\n  penstock sinks wandb\n')
    .action(async (name: string | undefined) => {
      const { describeSinks } = await import('../actions/describe.js')
      process.stdout.write(describeSinks(name))
    })
}
