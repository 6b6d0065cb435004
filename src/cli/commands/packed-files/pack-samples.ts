import { type Command, Option } from 'commander'
import type { JobFlags, RowFlags } from '../../actions/document-jobs.js'
import { addOutputOptions } from '../../output/shared-options.js'
import { wholeNumber } from '../../output/terminal.js'

export function addPackSamplesCommand(program: Command): void {
  const command = program
    .command('pack-samples')
    .summary('pack whole documents of .pbin files into rows for training')
    .description(
      'Writes a .pack file: the documents that form each training sample, so that no document is cut at a sample boundary.',
    )
    .argument('<sources...>', '.pbin files, folders of them, glob patterns, or @FILE with one of these per line')
    .requiredOption('-o, --output <file>', 'the .pack file')
    .requiredOption('--sequence-length <tokens>', 'context length of the model', wholeNumber)
    .addOption(new Option('--long <policy>', 'documents longer than a row').choices(['split', 'drop']).default('split'))
    .option('--seed <number>', 'seed of the order in which documents are packed', wholeNumber, 0)
    .addHelpText('after', '\nExample:\n  penstock pack-samples corpus.pbin -o corpus.pack --sequence-length 1024\n')
  addOutputOptions(command).action(async (sources: string[], flags: JobFlags & RowFlags & { output: string }) => {
    const { packRows } = await import('../../actions/document-jobs.js')
    await packRows(sources, flags.output, flags)
  })
}
