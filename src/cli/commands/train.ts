import { type Command, Option } from 'commander'
import type { Variables } from '../../pipelines/definition.js'
import type { RunFlags } from '../actions/run-definition.js'
import { backendOption, collectVariable, dashboardOption } from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'

interface TrainFlags extends RunFlags {
  readonly set: Variables
  readonly steps?: number
  readonly backend?: string
  readonly resume: boolean
  readonly engine?: 'tfjs' | 'torch'
  readonly nproc?: number
  readonly device?: string
  readonly python?: string
  readonly maxRestarts?: number
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
    .addOption(backendOption())
    .addOption(new Option('--engine <name>', 'what does the arithmetic').choices(['tfjs', 'torch']))
    .option('--nproc <count>', 'torch: processes on this machine, one for each GPU', wholeNumber)
    .addOption(new Option('--device <name>', 'torch: where to compute').choices(['auto', 'cpu', 'cuda']))
    .option('--python <path>', 'torch: the interpreter that has it')
    .option('--max-restarts <count>', 'torch: go on from the newest checkpoint when ranks die, so often', wholeNumber)
    .option('--no-resume', 'refuse a folder with checkpoints instead of going on from them')
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'progress and results as JSON lines on standard error')
    .option(...dashboardOption)
    .addHelpText('after', '\nExample:\n  penstock train configs/train.yaml --set steps=500\n')
    .action(async (file: string, flags: TrainFlags) => {
      const { openDefinition } = await import('../actions/open-definition.js')
      const { withStageOptions } = await import('../../pipelines/definition.js')
      const { runTraining } = await import('../actions/train.js')
      const definition = withStageOptions(await openDefinition(file, flags.set), 'feed-trainer', options =>
        changedOptions(options, flags),
      )
      await runTraining(definition, flags)
    })
}

/** The options of feed-trainer that the flags change. */
function changedOptions(options: Readonly<Record<string, unknown>>, flags: TrainFlags): Record<string, unknown> {
  const { steps, backend, engine, nproc, device, python, maxRestarts } = flags
  const torch = given({ nproc, device, python, max_restarts: maxRestarts })
  return {
    ...given({ steps, backend, engine }),
    ...(flags.resume ? {} : { resume: false }),
    ...(Object.keys(torch).length === 0 ? {} : { torch: { ...(options.torch as object | undefined), ...torch } }),
  }
}

function given(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
