import { type Command, Option } from 'commander'
import { PenstockError } from '../../errors.js'
import type { TextOptions } from '../actions/generate.js'
import { backendOption } from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'

export function addGenerateCommand(program: Command): void {
  program
    .command('generate')
    .summary('continue a text with a trained model')
    .description('Continues a prompt with the model of a checkpoint, token by token, on standard output.')
    .argument('<checkpoint>', 'a checkpoint, or a folder of checkpoints (the newest is taken)')
    .requiredOption('-p, --prompt <text>', 'the text to continue')
    .option('-n, --max-tokens <count>', 'tokens to add at most', wholeNumber, 100)
    .option('--temperature <value>', '0 takes the likeliest token each time', nonNegative, 0.8)
    .option('--top-k <count>', 'draw from the likeliest tokens only', wholeNumber)
    .option('--seed <number>', 'the same seed gives the same text', wholeNumber, 0)
    .option('--tokenizer <path>', 'where the tokenizer lies now, if not where it was')
    .addOption(new Option('--engine <name>', 'whose arithmetic').choices(['tfjs', 'torch']).default('tfjs'))
    .addOption(backendOption().default('wasm'))
    .addHelpText(
      'after',
      "\nExample:\n  penstock generate data/quickstart/checkpoints --prompt 'The state of the Union'\n",
    )
    .action(async (checkpoint: string, flags: TextOptions) => {
      const { continueText } = await import('../actions/generate.js')
      for await (const piece of continueText(checkpoint, flags)) process.stdout.write(piece)
      process.stdout.write('\n')
    })
}

function nonNegative(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value
  throw new PenstockError('ARGUMENT_INVALID', `expected a number from 0 on, found ${JSON.stringify(text)}`)
}
