import type { Command } from 'commander'
import type { JobFlags } from '../../actions/document-jobs.js'
import { addOutputOptions } from '../../output/shared-options.js'

export function addMergeCommand(program: Command): void {
  const command = program
    .command('merge')
    .summary('merge packed files into one')
    .description(
      'Concatenates the documents of packed files. All files must have the same token width and come from the same tokenizer.',
    )
    .argument('<sources...>', '.pbin files, or folders that contain them')
    .requiredOption('-o, --output <file>', 'the merged packed file')
    .addHelpText('after', '\nExample:\n  penstock merge part-1.pbin part-2.pbin -o all.pbin\n')
  addOutputOptions(command).action(async (sources: string[], flags: JobFlags & { output: string }) => {
    const { mergePacked } = await import('../../actions/document-jobs.js')
    await mergePacked(sources, flags.output, flags)
  })
}
