import { type Command, Option } from 'commander'
import type { Variables } from '../../pipelines/definition.js'
import type { RunFlags } from '../actions/run-definition.js'
import { backendOption, dashboardOption, setOption } from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'
import { rejectUnused } from '../output/unused-flags.js'

interface TrainFlags extends RunFlags {
  readonly set?: Variables
  readonly steps?: number
  readonly backend?: string
  readonly resume: boolean
  readonly acceptChangedData?: true
  readonly engine?: 'tfjs' | 'torch'
  readonly nproc?: number
  readonly device?: string
  readonly python?: string
  readonly maxRestarts?: number
}

export function addTrainCommand(program: Command): void {
  program
    .command('train')
    .summary('train a model from a definition')
    .description(
      'Runs a definition that contains feed-trainer. Resumes from the newest checkpoint in its folder; Ctrl-C saves a checkpoint before stopping.',
    )
    .argument('<definition>', 'the definition, a YAML file')
    .option(...setOption)
    .option('--steps <count>', 'total number of training steps', wholeNumber)
    .addOption(backendOption())
    .addOption(new Option('--engine <name>', 'engine that trains the model').choices(['tfjs', 'torch']))
    .option('--nproc <count>', 'torch: processes on this machine, one per GPU', wholeNumber)
    .addOption(new Option('--device <name>', 'torch: device to train on').choices(['auto', 'cpu', 'cuda']))
    .option('--python <path>', 'torch: Python interpreter of an environment with torch')
    .option(
      '--max-restarts <count>',
      'torch: how many times to restart from the newest checkpoint after a rank dies',
      wholeNumber,
    )
    .option('--no-resume', 'fail if the checkpoint folder contains checkpoints, instead of resuming')
    .option('--accept-changed-data', 'resume although the samples are not those that the checkpoint was trained on')
    .option('--quiet', 'print only errors')
    .option('--json', 'print progress and results as JSON lines on standard error')
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

/** Options of feed-trainer that the flags override. */
function changedOptions(options: Readonly<Record<string, unknown>>, flags: TrainFlags): Record<string, unknown> {
  const { steps, backend, engine, nproc, device, python, maxRestarts } = flags
  rejectUnused(flags, ...unusedFor(engine ?? options.engine))
  const torch = given({ nproc, device, python, max_restarts: maxRestarts })
  return {
    ...given({ steps, backend, engine }),
    ...(flags.resume ? {} : { resume: false }),
    ...given({ accept_changed_data: flags.acceptChangedData }),
    ...(Object.keys(torch).length === 0 ? {} : { torch: { ...(options.torch as object | undefined), ...torch } }),
  }
}

/** Flags without effect on an engine, and the reason. */
function unusedFor(engine: unknown): [names: string[], reason: string] {
  return engine === 'torch'
    ? [['backend'], 'with the torch engine']
    : [['nproc', 'device', 'python', 'maxRestarts'], 'without --engine torch']
}

function given(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
