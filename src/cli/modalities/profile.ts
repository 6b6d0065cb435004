/** `penstock profile`: the reference system's command for profiles, under its name and options. */
import { type Command, Option } from 'commander'
import { wholeNumber } from '../output/terminal.js'
import type { ProfileFlags } from './profile-steps.js'

export function addProfileCommand(program: Command): void {
  const profile = program
    .command('profile')
    .summary("the reference system's command for profiles, under its name")
    .description('Traces training steps of a model on random tokens.')
    .addHelpText(
      'after',
      '\nExample:\n  penstock profile distributed --config_file_path profile.yaml --experiment_root_path profiles\n',
    )
  profile
    .command('distributed')
    .description('Takes the steps that a profiling configuration of Modalities asks for, and writes their trace.')
    .requiredOption('--config_file_path <file>', 'a YAML file with steppable_component and profiler')
    .requiredOption('--experiment_root_path <folder>', 'where its experiment gets a folder')
    .addOption(new Option('--engine <name>', 'what does the arithmetic').choices(['tfjs', 'torch']).default('tfjs'))
    .option('--nproc <count>', 'torch: processes on this machine, one for each GPU', wholeNumber)
    .option('--quiet', 'print nothing but errors')
    .addHelpText(
      'after',
      '\nExample:\n  penstock profile distributed --config_file_path profile.yaml --experiment_root_path profiles\n',
    )
    .action(async (flags: ProfileFlags) => {
      const { profileSteps } = await import('./profile-steps.js')
      process.stdout.write(`${await profileSteps(flags)}\n`)
    })
}
