import type { Command } from 'commander'
import { printOutput } from '../output/print.js'
import { wholeNumber } from '../output/terminal.js'
import type { ExplainFlags } from './explain-config.js'

export function addExplainCommand(program: Command): void {
  program
    .command('explain')
    .summary('show how Penstock runs a Modalities configuration')
    .description(
      'Reads a training or packing configuration of Modalities and shows how Penstock runs each part, what differs and what is not supported. Nothing is run.',
    )
    .argument('<config>', 'configuration of Modalities (YAML)')
    .option('--resolved', 'print the configuration with all variables resolved instead')
    .option('--experiments_root_path <folder>', 'root folder of the experiments; by default, the current folder')
    .option('--experiment_id <name>', 'name of the experiment')
    .option('--last_checkpoint_info_file_path <file>', 'last_checkpoint_info.json of the run to warmstart from')
    .option('--nproc <count>', 'world size: the number of ranks', wholeNumber)
    .addHelpText(
      'after',
      '\nExample:\n  penstock explain pretraining_config.yaml --experiments_root_path experiments\n',
    )
    .action(async (config: string, flags: ExplainFlags) => {
      const { explainConfig } = await import('./explain-config.js')
      printOutput(await explainConfig(config, flags))
    })
}
