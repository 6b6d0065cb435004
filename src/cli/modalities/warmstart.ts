import type { Command } from 'commander'
import { addModalitiesOptions, type ModalitiesFlags, runOrLog } from './run-options.js'

export function addWarmstartCommand(program: Command): void {
  const command = program
    .command('warmstart')
    .summary('go on training as a configuration of the reference system says')
    .description("Runs a warmstart configuration of Modalities from the checkpoint that a run's info file names.")
    .requiredOption('--config_file_path <file>', 'the YAML file')
    .requiredOption('--experiments_root_path <folder>', 'where experiments lie')
    .requiredOption('--last_checkpoint_info_file_path <file>', 'last_checkpoint_info.json of the run to go on from')
    .addHelpText(
      'after',
      '\nExample:\n  penstock warmstart --config_file_path warmstart.yaml --experiments_root_path runs \\\n    --last_checkpoint_info_file_path checkpoints/last_checkpoint_info.json\n',
    )
  addModalitiesOptions(command).action(async (flags: ModalitiesFlags) => runOrLog(flags))
}
