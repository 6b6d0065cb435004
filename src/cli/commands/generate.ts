import { type Command, Option } from 'commander'
import { PenstockError } from '../../errors.js'
import type { TextOptions } from '../actions/generate.js'
import { printGenerated, printOutput } from '../output/print.js'
import { backendOption } from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'
import { rejectUnused } from '../output/unused-flags.js'

export function addGenerateCommand(program: Command): void {
  program
    .command('generate')
    .summary('generate text with a trained model')
    .description(
      'Continues a prompt with the model of a checkpoint and prints the text to standard output, token by token.',
    )
    .argument('<checkpoint>', 'a checkpoint, or a folder of checkpoints (the newest is used)')
    .requiredOption('-p, --prompt <text>', 'the text to continue')
    .option('-n, --max-tokens <count>', 'maximum number of tokens to generate', wholeNumber, 100)
    .option('--temperature <value>', 'sampling temperature; 0 always takes the most likely token', nonNegative, 0.8)
    .option('--top-k <count>', 'sample only from this many of the most likely tokens', wholeNumber)
    .option('--seed <number>', 'seed of the sampling', wholeNumber, 0)
    .option('--tokenizer <path>', 'path of the tokenizer, if it has moved since the training')
    .addOption(
      new Option('--engine <name>', 'engine that computes the model').choices(['tfjs', 'torch']).default('tfjs'),
    )
    .addOption(backendOption().default('wasm'))
    .addHelpText(
      'after',
      "\nExample:\n  penstock generate data/quickstart/checkpoints --prompt 'The state of the Union'\n",
    )
    .action(async (checkpoint: string, flags: TextOptions, command: Command) => {
      if (flags.engine === 'torch' && command.getOptionValueSource('backend') === 'cli') {
        rejectUnused(flags, ['backend'], 'with --engine torch')
      }
      const { continueText } = await import('../actions/generate.js')
      for await (const piece of continueText(checkpoint, flags)) printGenerated(piece)
      printOutput('\n')
    })
}

function nonNegative(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value
  throw new PenstockError('ARGUMENT_INVALID', `expected a non-negative number, found ${JSON.stringify(text)}`)
}
