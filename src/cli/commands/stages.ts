import type { Command } from 'commander'

export function addStagesCommand(program: Command): void {
  program
    .command('stages')
    .summary('list the stages and their options')
    .description('Lists every stage with what it takes and gives; with a name, its options too.')
    .argument('[name]', 'one stage, with its options')
    .option('--json', 'as JSON, options as JSON Schema')
    .addHelpText('after', '\nExample:\n  penstock stages tokenize-batches\n')
    .action(async (name: string | undefined, options: { json?: boolean }) => {
      const { describeStages } = await import('../actions/describe.js')
      process.stdout.write(describeStages(name, options.json === true))
    })
}
