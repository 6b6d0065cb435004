import type { Command } from 'commander'
import type { JobFlags } from '../actions/document-jobs.js'
import { addOutputOptions } from '../output/shared-options.js'

export function addMergeCommand(program: Command): void {
  const command = program
    .command('merge')
    .summary('join packed files into one')
    .description(
      'Joins the documents of packed files into one, file after file. All must have tokens of one width, of one tokenizer.',
    )
    .argument('<sources...>', '.pbin files, or folders: all such files in them')
    .requiredOption('-o, --output <file>', 'the packed file to write')
    .addHelpText('after', '\nExample:\n  penstock merge part-1.pbin part-2.pbin -o all.pbin\n')
  addOutputOptions(command).action(async (sources: string[], flags: JobFlags & { output: string }) => {
    const { mergePacked } = await import('../actions/document-jobs.js')
    await mergePacked(sources, flags.output, flags)
  })
}
