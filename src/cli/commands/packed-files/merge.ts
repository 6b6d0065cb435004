import type { Command } from 'commander'
import type { JobFlags } from '../../actions/document-jobs.js'
import { addOutputOptions } from '../../output/shared-options.js'

export function addMergeCommand(program: Command): void {
  const command = program
    .command('merge')
    .summary('merge packed files into one')
    .description(
      'Concatenates the documents of packed files, in the order of the arguments; the files of a folder or pattern in the order of their names. All files must have the same token width and come from the same tokenizer.',
    )
    .argument(
      '<sources...>',
      '.pbin files, folders that contain them, glob patterns, or @FILE with one of these per line',
    )
    .requiredOption('-o, --output <file>', 'the merged packed file')
    .addHelpText(
      'after',
      "\nExample:\n  penstock merge part-1.pbin part-2.pbin -o all.pbin\n  penstock merge 'packed/*.pbin' -o all.pbin\n",
    )
  addOutputOptions(command).action(async (sources: string[], flags: JobFlags & { output: string }) => {
    const { mergePacked } = await import('../../actions/document-jobs.js')
    await mergePacked(sources, flags.output, flags)
  })
}
