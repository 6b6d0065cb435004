import type { Command } from 'commander'
import type { PlanFlags } from '../actions/cluster/plan-shards.js'
import type { IndexFlags } from '../actions/index-jsonl.js'
import type { RunFlags } from '../actions/run-definition.js'
import { addFaultOptions, addOutputOptions, shardFolderOption, shardsOption } from '../output/shared-options.js'

export function addIndexCommand(program: Command): void {
  const command = program
    .command('index')
    .summary('index JSONL files')
    .description(
      'Validates each line of a JSONL file and writes its byte offset and length to an .idx file. Several sources get one index each; those that have one are left out.',
    )
    .argument('<sources...>', 'JSONL files, optionally .gz or .zst; also folders, glob patterns and @lists')
    .option('-o, --output <file>', 'the index file; by default, the source path with the extension .idx')
    .option(...shardsOption)
    .option(...shardFolderOption)
    .addHelpText('after', '\nExample:\n  penstock index corpus.jsonl --faulty quarantine --quarantine faulty.jsonl\n')
  addOutputOptions(addFaultOptions(command)).action(
    async (sources: string[], flags: RunFlags & IndexFlags & Partial<PlanFlags>) => {
      const { indexPipelines } = await import('../actions/index-jsonl.js')
      const { locateSources } = await import('../../files/source-list.js')
      const { planOrRun } = await import('../actions/cluster/plan-or-run.js')
      await locateSources(sources)
      await planOrRun('index', await indexPipelines(sources, flags), flags)
    },
  )
}
