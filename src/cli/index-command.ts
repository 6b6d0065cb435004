import type { Command } from 'commander'
import { DEFAULT_LINE_BYTES } from '../formats/jsonl.js'
import type { RunFlags } from './run-definition.js'
import {
  addFaultOptions,
  addOutputOptions,
  type FaultFlags,
  faultOptionsOf,
  type OutputFlags,
  withoutEnding,
} from './shared-options.js'

export function addIndexCommand(program: Command): void {
  const command = program
    .command('index')
    .summary('index a JSONL file')
    .description(
      'Writes the byte offset and length of each line of a JSONL file to an .idx file; each line is checked.',
    )
    .argument('<source>', 'the JSONL file, also .gz or .zst')
    .option('-o, --output <file>', 'the index; the name of the source with the ending .idx when absent')
    .addHelpText('after', '\nExample:\n  penstock index corpus.jsonl --faulty quarantine --quarantine faulty.jsonl\n')
  addOutputOptions(addFaultOptions(command)).action(
    async (source: string, flags: RunFlags & FaultFlags & OutputFlags & { output?: string }) => {
      const stages = indexStages(source, flags.output ?? `${withoutEnding(source)}.idx`, flags)
      await withIndexingStarted(source, async () => {
        const { definitionOf } = await import('../pipelines/definition.js')
        const { runDefinition } = await import('./run-definition.js')
        await runDefinition(definitionOf({ name: 'index', stages }, 'penstock index'), flags)
      })
    },
  )
}

export function indexStages(source: string, path: string, flags: FaultFlags & OutputFlags): object[] {
  const faults = faultOptionsOf(flags)
  return [
    { 'read-file': { path: source } },
    { 'read-lines': faults },
    { 'validate-json': faults },
    { 'write-index': { path, if_exists: flags.ifExists } },
  ]
}

/** Has the pass over the file begin while `run` loads the rest of its code. */
export async function withIndexingStarted(source: string, run: () => Promise<void>): Promise<void> {
  const { withStartedRun } = await import('../stages/range-run.js')
  await withStartedRun({ path: source, maxLineBytes: DEFAULT_LINE_BYTES, index: true }, run)
}
