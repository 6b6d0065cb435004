import type { Command } from 'commander'
import { backendOption } from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'

export function addQuickstartCommand(program: Command): void {
  program
    .command('quickstart')
    .summary('run everything once on a small English corpus, in a few minutes')
    .description(
      'Trains a tokenizer, writes an index and a packed file, trains a small model and prints a report. In a clone, use npm run quickstart, which creates the corpus first.',
    )
    .option('--steps <count>', 'number of training steps', wholeNumber)
    .addOption(backendOption().default('wasm'))
    .addHelpText('after', '\nExample:\n  penstock quickstart --steps 100\n')
    .action(async (flags: { steps?: number; backend: string }) => {
      const { quickstart } = await import('../actions/quickstart.js')
      await quickstart(flags)
    })
}
