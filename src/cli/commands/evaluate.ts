import { type Command, Option } from 'commander'
import type { EvaluateOptions } from '../actions/evaluate.js'
import { printOutput } from '../output/print.js'
import { backendOption } from '../output/shared-options.js'
import { numberAtLeast, positiveInteger, quantity, share } from '../output/terminal.js'
import { rejectUnused } from '../output/unused-flags.js'

interface EvaluateFlags extends EvaluateOptions {
  readonly data: readonly string[]
  readonly json?: boolean
}

export function addEvaluateCommand(program: Command): void {
  program
    .command('evaluate')
    .summary('compute the loss of a trained model on packed files')
    .description('Computes loss and perplexity of the model of a checkpoint on each of the given packed files.')
    .argument('<checkpoint>', 'a checkpoint, or a folder of checkpoints (the newest is used)')
    .requiredOption('--data <files...>', 'packed files (.pbin)')
    .option('--from <share>', 'start of the range of samples, as a fraction', share, 0)
    .option('--to <share>', 'end of the range of samples, as a fraction', share, 1)
    .addOption(
      new Option('--range <unit>', 'what --from and --to divide: the samples or the documents of a file')
        .choices(['file', 'documents'])
        .default('file'),
    )
    .option('--batches <count>', 'maximum number of batches per file; by default, all', positiveInteger)
    .option('--batch-size <count>', 'samples per batch; by default, that of the training', positiveInteger)
    .option('--bytes-per-token <number>', 'mean bytes of text per token, to report bits per byte', numberAtLeast(0.001))
    .option('--tokenizer <path>', 'tokenizer that the files must have been packed with')
    .addOption(
      new Option('--engine <name>', 'engine that computes the model').choices(['tfjs', 'torch']).default('tfjs'),
    )
    .addOption(backendOption().default('wasm'))
    .option('--json', 'print the results as JSON lines')
    .addHelpText('after', '\nExample:\n  penstock evaluate checkpoints --data held-out.pbin other.pbin\n')
    .action(async (checkpoint: string, flags: EvaluateFlags, command: Command) => {
      if (flags.engine === 'torch' && command.getOptionValueSource('backend') === 'cli') {
        rejectUnused(flags, ['backend'], 'with --engine torch')
      }
      const { evaluateCheckpoint } = await import('../actions/evaluate.js')
      for await (const result of evaluateCheckpoint(checkpoint, flags.data, flags)) {
        if (flags.json) {
          printOutput(`${JSON.stringify(result)}\n`)
          continue
        }
        const { path, loss, perplexity, bitsPerByte, tokens } = result
        const bits = bitsPerByte === undefined ? '' : `, ${bitsPerByte.toFixed(4)} bits per byte`
        printOutput(
          `${path}: loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(2)}${bits} (${quantity(tokens, 'token')})\n`,
        )
      }
    })
}
