import type { Command } from 'commander'
import { addModalitiesOptions, type ModalitiesFlags, runOrLog } from './run-options.js'

export function addWarmstartCommand(program: Command): void {
  const command = program
    .command('warmstart')
    .summary('continue training according to a Modalities warmstart configuration')
    .description(
      'Runs a Modalities warmstart configuration, starting from the checkpoint that last_checkpoint_info.json names.',
    )
    .requiredOption('--config_file_path <file>', 'warmstart configuration (YAML)')
    .requiredOption('--experiments_root_path <folder>', 'root folder of the experiments')
    .requiredOption('--last_checkpoint_info_file_path <file>', 'last_checkpoint_info.json of the run to warmstart from')
    .addHelpText(
      'after',
      '\nExample:\n  penstock warmstart --config_file_path warmstart.yaml --experiments_root_path runs \\\n    --last_checkpoint_info_file_path checkpoints/last_checkpoint_info.json\n',
    )
  addModalitiesOptions(command).action(async (flags: ModalitiesFlags) => runOrLog(flags))
}
