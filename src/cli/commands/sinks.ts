import type { Command } from 'commander'
import { printOutput } from '../output/print.js'

export function addSinksCommand(program: Command): void {
  program
    .command('sinks')
    .summary('list the monitoring sinks and their options')
    .description(
      'Lists the sinks that can receive the metrics of a run, set under the monitoring key of a definition. With a name, lists the options of that sink.',
    )
    .argument('[name]', 'show the options of this sink')
    .addHelpText('after', '\nExample:\n  penstock sinks wandb\n')
    .action(async (name: string | undefined) => {
      const { describeSinks } = await import('../actions/describe.js')
      printOutput(describeSinks(name))
    })
}
