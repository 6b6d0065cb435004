import type { Command } from 'commander'
import type { PlanFlags } from '../../actions/cluster/plan-shards.js'
import type { JobFlags } from '../../actions/document-jobs.js'
import { addOutputOptions, shardFolderOption, shardsOption } from '../../output/shared-options.js'
import { wholeNumber } from '../../output/terminal.js'

export function addShuffleCommand(program: Command): void {
  const command = program
    .command('shuffle')
    .summary('shuffle the documents of .pbin files or the lines of .jsonl files')
    .description('Writes the documents of packed files, or the lines of JSONL files, in shuffled order to one file.')
    .argument('<sources...>', '.pbin or .jsonl files; several are shuffled together')
    .requiredOption('-o, --output <file>', 'the shuffled file')
    .option('--seed <number>', 'seed of the shuffle; by default, a random seed is chosen and printed', wholeNumber)
    .option(...shardsOption)
    .option(...shardFolderOption)
    .addHelpText('after', '\nExample:\n  penstock shuffle a.pbin b.pbin -o shuffled.pbin --seed 42\n')
  addOutputOptions(command).action(
    async (sources: string[], flags: JobFlags & Partial<PlanFlags> & { output: string; seed?: number }) => {
      const { shuffleFiles } = await import('../../actions/document-jobs.js')
      await shuffleFiles(sources, flags.output, { seed: flags.seed }, flags)
    },
  )
}
