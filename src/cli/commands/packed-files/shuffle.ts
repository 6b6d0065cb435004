import type { Command } from 'commander'
import type { JobFlags } from '../../actions/document-jobs.js'
import { addOutputOptions } from '../../output/shared-options.js'
import { wholeNumber } from '../../output/terminal.js'

export function addShuffleCommand(program: Command): void {
  const command = program
    .command('shuffle')
    .summary('shuffle the documents of a .pbin file or the lines of a .jsonl file')
    .description('Writes the documents of a packed file, or the lines of a JSONL file, in shuffled order.')
    .argument('<source>', 'a .pbin or .jsonl file')
    .requiredOption('-o, --output <file>', 'the shuffled file')
    .option('--seed <number>', 'seed of the shuffle; by default, a random seed is chosen and printed', wholeNumber)
    .addHelpText('after', '\nExample:\n  penstock shuffle corpus.pbin -o shuffled.pbin --seed 42\n')
  addOutputOptions(command).action(async (source: string, flags: JobFlags & { output: string; seed?: number }) => {
    const { shuffleFiles } = await import('../../actions/document-jobs.js')
    await shuffleFiles([source], flags.output, { seed: flags.seed }, flags)
  })
}
