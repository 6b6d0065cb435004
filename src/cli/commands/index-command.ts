import type { Command } from 'commander'
import type { IndexFlags } from '../actions/index-jsonl.js'
import type { RunFlags } from '../actions/run-definition.js'
import { addFaultOptions, addOutputOptions } from '../output/shared-options.js'

export function addIndexCommand(program: Command): void {
  const command = program
    .command('index')
    .summary('index JSONL files')
    .description(
      'Validates each line of a JSONL file and writes its byte offset and length to an .idx file. Several sources get one index each; those that have one are left out.',
    )
    .argument('<sources...>', 'JSONL files, optionally .gz or .zst; also folders, glob patterns and @lists')
    .option('-o, --output <file>', 'the index file; by default, the source path with the extension .idx')
    .addHelpText('after', '\nExample:\n  penstock index corpus.jsonl --faulty quarantine --quarantine faulty.jsonl\n')
  addOutputOptions(addFaultOptions(command)).action(async (sources: string[], flags: RunFlags & IndexFlags) => {
    const { indexPipelines } = await import('../actions/index-jsonl.js')
    const { locateSources } = await import('../../files/source-list.js')
    const { withRangesStarted } = await import('../actions/start-ranges.js')
    await locateSources(sources)
    const pipelines = await indexPipelines(sources, flags)
    const [first] = Object.values(pipelines)
    if (first === undefined) return
    await withRangesStarted(first, async () => {
      const { definitionOf } = await import('../../pipelines/definition.js')
      const { runDefinition } = await import('../actions/run-definition.js')
      await runDefinition(definitionOf({ name: 'index', pipelines }, 'penstock index'), flags)
    })
  })
}
