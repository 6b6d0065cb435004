import type { Command } from 'commander'
import { printOutput } from '../output/print.js'

export function addStagesCommand(program: Command): void {
  program
    .command('stages')
    .summary('list the stages and their options')
    .description(
      'Lists every stage with its input and output types. With a name, lists the options of that stage or of one of its options.',
    )
    .argument('[name]', 'stage, or an option of a stage, such as feed-trainer.model')
    .option('--json', 'print JSON, with the options as JSON Schema')
    .addHelpText('after', '\nExample:\n  penstock stages tokenize-batches\n  penstock stages feed-trainer.model\n')
    .action(async (name: string | undefined, options: { json?: boolean }) => {
      const { describeStages } = await import('../actions/describe.js')
      printOutput(describeStages(name, options.json === true))
    })
}
