import type { Command } from 'commander'
import { PenstockError } from '../errors.js'
import type { Variables } from '../pipelines/definition.js'
import type { RunFlags } from './run-definition.js'
import { dashboardOption } from './shared-options.js'

export function addRunCommand(program: Command): void {
  program
    .command('run')
    .summary('run a pipeline definition')
    .description('Runs the pipelines of a definition file, one after the other.')
    .argument('<definition>', 'a YAML file; docs/definitions.md says what stands in it')
    .option(
      '--set <name=value>',
      'give a variable of the definition another value; may be repeated',
      collectVariable,
      {},
    )
    .option('--check', 'check the definition and stop')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'progress and results as JSON lines on standard error')
    .option(...dashboardOption)
    .addHelpText('after', '\nExample:\n  penstock run configs/pack.yaml --set input=corpus.jsonl --set output=corpus\n')
    .action(async (file: string, options: RunFlags & { set: Variables; check?: boolean }) => {
      const { openDefinition } = await import('./open-definition.js')
      const definition = await openDefinition(file, options.set)
      if (options.check) {
        const { checkDefinition } = await import('../pipelines/check.js')
        const pipelines = checkDefinition(definition)
        process.stdout.write(`${file}: ${pipelines.map(pipeline => pipeline.name).join(', ')}: in order\n`)
        return
      }
      const { runDefinition } = await import('./run-definition.js')
      await runDefinition(definition, options)
    })
}

/** `--set name=value`, numbers and booleans as such. */
export function collectVariable(text: string, sofar: Variables): Variables {
  const at = text.indexOf('=')
  if (at <= 0) throw new PenstockError('ARGUMENT_INVALID', `--set expects name=value, found ${JSON.stringify(text)}`)
  return { ...sofar, [text.slice(0, at)]: typedValue(text.slice(at + 1)) }
}

function typedValue(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text
}
