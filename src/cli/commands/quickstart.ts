import type { Command } from 'commander'
import { backendOption } from '../output/shared-options.js'

export function addQuickstartCommand(program: Command): void {
  program
    .command('quickstart')
    .summary('the whole way on a small English corpus, in a few minutes')
    .description(
      'JSONL to tokenizer, index, packed file and a small trained model, with a report. In a clone, npm run quickstart makes the corpus first.',
    )
    .option('--steps <count>', 'training steps', Number)
    .addOption(backendOption().default('wasm'))
    .addHelpText('after', '\nExample:\n  penstock quickstart --steps 100\n')
    .action(async (flags: { steps?: number; backend: string }) => {
      const { quickstart } = await import('../actions/quickstart.js')
      await quickstart(flags)
    })
}
