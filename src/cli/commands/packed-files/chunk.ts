import type { Command } from 'commander'
import type { JobFlags } from '../../actions/document-jobs.js'
import { addOutputOptions } from '../../output/shared-options.js'
import { wholeNumber } from '../../output/terminal.js'

interface ChunkFlags extends JobFlags {
  readonly output: string
  readonly chunk: number
  readonly of: number
  readonly seed?: number
}

export function addChunkCommand(program: Command): void {
  const command = program
    .command('chunk')
    .summary('write one shuffled chunk of several .pbin or .jsonl files')
    .description(
      'Takes one chunk of each file and writes their documents or lines in shuffled order. The chunks of a file differ in size by at most one document.',
    )
    .argument('<sources...>', '.pbin or .jsonl files')
    .requiredOption('-o, --output <file>', 'the file to write')
    .requiredOption('--chunk <number>', 'number of the chunk to write, starting at 0', wholeNumber)
    .requiredOption('--of <count>', 'total number of chunks', wholeNumber)
    .option('--seed <number>', 'seed of the shuffle; by default, a random seed is chosen and printed', wholeNumber)
    .addHelpText('after', '\nExample:\n  penstock chunk a.pbin b.pbin -o chunk-0.pbin --chunk 0 --of 8 --seed 42\n')
  addOutputOptions(command).action(async (sources: string[], flags: ChunkFlags) => {
    const { shuffleFiles } = await import('../../actions/document-jobs.js')
    const chunk = { number: flags.chunk, of: flags.of }
    await shuffleFiles(sources, flags.output, { seed: flags.seed, chunk }, flags)
  })
}
