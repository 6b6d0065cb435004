/** `penstock profile`: Modalities' profiling command, with the same name and options. */
import { type Command, Option } from 'commander'
import { printOutput } from '../output/print.js'
import { wholeNumber } from '../output/terminal.js'
import type { ProfileFlags } from './profile-steps.js'

export function addProfileCommand(program: Command): void {
  const profile = program
    .command('profile')
    .summary('profiling command of Modalities, with the same name')
    .description('Profiles training steps of a model on random tokens.')
    .addHelpText(
      'after',
      '\nExample:\n  penstock profile distributed --config_file_path profile.yaml --experiment_root_path profiles\n',
    )
  profile
    .command('distributed')
    .description('Runs the training steps of a Modalities profiling configuration and writes their trace.')
    .requiredOption('--config_file_path <file>', 'YAML file with steppable_component and profiler')
    .requiredOption('--experiment_root_path <folder>', 'root folder in which the experiment folder is created')
    .addOption(new Option('--engine <name>', 'training engine').choices(['tfjs', 'torch']).default('tfjs'))
    .option('--nproc <count>', 'torch: number of processes on this machine, one per GPU', wholeNumber)
    .option('--quiet', 'print errors only')
    .addHelpText(
      'after',
      '\nExample:\n  penstock profile distributed --config_file_path profile.yaml --experiment_root_path profiles\n',
    )
    .action(async (flags: ProfileFlags) => {
      const { profileSteps } = await import('./profile-steps.js')
      printOutput(`${await profileSteps(flags)}\n`)
    })
}
