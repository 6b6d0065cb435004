import type { Command } from 'commander'
import { indexStages } from '../actions/index-jsonl.js'
import type { RunFlags } from '../actions/run-definition.js'
import {
  addFaultOptions,
  addOutputOptions,
  type FaultFlags,
  type OutputFlags,
  withoutEnding,
} from '../output/shared-options.js'

export function addIndexCommand(program: Command): void {
  const command = program
    .command('index')
    .summary('index a JSONL file')
    .description('Validates each line of a JSONL file and writes its byte offset and length to an .idx file.')
    .argument('<source>', 'the JSONL file, optionally .gz or .zst')
    .option('-o, --output <file>', 'the index file; by default, the source path with the extension .idx')
    .addHelpText('after', '\nExample:\n  penstock index corpus.jsonl --faulty quarantine --quarantine faulty.jsonl\n')
  addOutputOptions(addFaultOptions(command)).action(
    async (source: string, flags: RunFlags & FaultFlags & OutputFlags & { output?: string }) => {
      const stages = indexStages(source, flags.output ?? `${withoutEnding(source)}.idx`, flags)
      const { withRangesStarted } = await import('../actions/start-ranges.js')
      await withRangesStarted(stages, async () => {
        const { definitionOf } = await import('../../pipelines/definition.js')
        const { runDefinition } = await import('../actions/run-definition.js')
        await runDefinition(definitionOf({ name: 'index', stages }, 'penstock index'), flags)
      })
    },
  )
}
