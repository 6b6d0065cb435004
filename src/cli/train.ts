import { type Command, Option } from 'commander'
import type { Variables } from '../pipelines/definition.js'
import { collectVariable } from './run.js'
import type { RunFlags } from './run-definition.js'
import { wholeNumber } from './terminal.js'

interface TrainFlags extends RunFlags {
  readonly set: Variables
  readonly steps?: number
  readonly backend?: string
  readonly resume: boolean
}

export function addTrainCommand(program: Command): void {
  program
    .command('train')
    .summary('train a model as a definition says')
    .description(
      'Runs a definition whose pipeline ends in feed-trainer. Goes on from the newest checkpoint of its folder; Ctrl-C saves one first.',
    )
    .argument('<definition>', 'a YAML file')
    .option(
      '--set <name=value>',
      'give a variable of the definition another value; may be repeated',
      collectVariable,
      {},
    )
    .option('--steps <count>', 'steps to train in all', wholeNumber)
    .addOption(new Option('--backend <name>', 'what computes').choices(['wasm', 'cpu', 'node', 'node-gpu', 'webgpu']))
    .option('--no-resume', 'refuse a folder with checkpoints instead of going on from them')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'progress and results as JSON lines on standard error')
    .addHelpText('after', '\nExample:\n  penstock train configs/train.yaml --set steps=500\n')
    .action(async (file: string, flags: TrainFlags) => {
      const { openDefinition } = await import('./open-definition.js')
      const { withStageOptions } = await import('../pipelines/definition.js')
      const { runDefinition } = await import('./run-definition.js')
      const definition = withStageOptions(await openDefinition(file, flags.set), 'feed-trainer', {
        ...(flags.steps === undefined ? {} : { steps: flags.steps }),
        ...(flags.backend === undefined ? {} : { backend: flags.backend }),
        ...(flags.resume ? {} : { resume: false }),
      })
      await runDefinition(definition, flags)
    })
}
