import type { Command } from 'commander'
import { PenstockError } from '../../errors.js'
import type { Definition, Variables } from '../../pipelines/definition.js'
import type { RunFlags } from '../actions/run-definition.js'
import { addModalitiesOptions, type ModalitiesFlags, runOrLog } from '../modalities/run-options.js'
import { freshOption, setOption } from '../output/shared-options.js'
import { rejectUnused } from '../output/unused-flags.js'

interface Flags extends RunFlags, Partial<Omit<ModalitiesFlags, 'check'>> {
  readonly set?: Variables
  readonly check?: boolean
}

const MODALITIES_FLAGS = [
  'experiments_root_path',
  'experiment_id',
  'test_comm',
  'error_log_folder',
  'engine',
  'nproc',
  'device',
  'python',
]

export function addRunCommand(program: Command): void {
  const command = program
    .command('run')
    .summary('run a pipeline definition')
    .description(
      'Runs the pipelines of a definition file one after another, or with --config_file_path a training configuration of Modalities.',
    )
    .argument('[definition]', 'the definition, a YAML file; docs/definitions.md describes its format')
    .option(...setOption)
    .option('--check', 'validate the definition or configuration without running it')
    .option(...freshOption)
    .option('--config_file_path <file>', 'run this training configuration of Modalities instead of a definition')
    .option('--experiments_root_path <folder>', 'with --config_file_path: parent folder of the experiment folder')
    .option(
      '--experiment_id <name>',
      'with --config_file_path: name of the experiment; by default, the time and a hash',
    )
    .option('--test_comm', 'accepted for compatibility; the communication of the ranks is always tested at startup')
    .addHelpText(
      'after',
      '\nExample:\n  penstock run configs/pack.yaml --set input=corpus.jsonl --set output=corpus\n  penstock run --config_file_path pretraining_config.yaml --experiments_root_path experiments\n',
    )
  addModalitiesOptions(command).action(async (file: string | undefined, flags: Flags) => {
    const { config_file_path, experiments_root_path } = flags
    if (file !== undefined && config_file_path === undefined) return runFile(file, flags)
    if (file !== undefined || config_file_path === undefined) {
      throw new PenstockError('ARGUMENT_INVALID', 'expected either a definition or --config_file_path')
    }
    if (experiments_root_path === undefined) {
      throw new PenstockError('ARGUMENT_INVALID', '--config_file_path requires --experiments_root_path')
    }
    rejectUnused(flags, ['set', 'fresh'], 'with --config_file_path')
    return runOrLog({ ...flags, config_file_path, experiments_root_path })
  })
}

async function runFile(file: string, flags: Flags): Promise<void> {
  rejectUnused(flags, MODALITIES_FLAGS, 'without --config_file_path')
  const { openDefinition } = await import('../actions/open-definition.js')
  const opened = await openDefinition(file, flags.set)
  const definition = flags.fresh ? await withoutResume(opened) : opened
  if (flags.check) {
    const { printCheck } = await import('../actions/check-definition.js')
    return printCheck(file, definition)
  }
  const { runDefinition } = await import('../actions/run-definition.js')
  await runDefinition(definition, flags)
}

/** Trainings start over as well: they fail if their folder contains checkpoints. */
async function withoutResume(definition: Definition): Promise<Definition> {
  const { allSteps, checkDefinition } = await import('../../pipelines/check.js')
  const { withStageOptions } = await import('../../pipelines/definition.js')
  const steps = checkDefinition(definition).flatMap(({ chain }) => allSteps(chain))
  const trains = steps.some(({ name }) => name === 'feed-trainer')
  return trains ? withStageOptions(definition, 'feed-trainer', { resume: false }) : definition
}
