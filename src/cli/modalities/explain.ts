import type { Command } from 'commander'
import { wholeNumber } from '../output/terminal.js'
import type { ExplainFlags } from './explain-config.js'

export function addExplainCommand(program: Command): void {
  program
    .command('explain')
    .summary('say what a configuration of the reference system becomes here')
    .description(
      'Reads a configuration of Modalities for training or packing and says what each part becomes here, what differs and what is not supported. Runs nothing.',
    )
    .argument('<config>', 'the YAML file')
    .option('--resolved', 'show the configuration with everything filled in instead')
    .option('--experiments_root_path <folder>', 'where experiments lie', '.')
    .option('--experiment_id <name>', 'what the experiment is called')
    .option('--last_checkpoint_info_file_path <file>', 'last_checkpoint_info.json of the run to go on from')
    .option('--nproc <count>', 'the world size', wholeNumber)
    .addHelpText(
      'after',
      '\nExample:\n  penstock explain pretraining_config.yaml --experiments_root_path experiments\n',
    )
    .action(async (config: string, flags: ExplainFlags) => {
      const { explainConfig } = await import('./explain-config.js')
      process.stdout.write(await explainConfig(config, flags))
    })
}
