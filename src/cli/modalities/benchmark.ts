/** `penstock benchmark`: Modalities' sweep commands, with the same names and options. */
import type { Command } from 'commander'
import { PenstockError } from '../../errors.js'
import { printOutput } from '../output/print.js'
import { wholeNumber } from '../output/terminal.js'

export function addBenchmarkCommand(program: Command): void {
  const benchmark = program
    .command('benchmark')
    .summary('sweep commands of Modalities, with the same names')
    .description('Creates one configuration per combination of a sweep and lists the runs that remain.')
    .addHelpText(
      'after',
      '\nExample:\n  penstock benchmark prepare_sweep_configs --sweep_config_path sweep.yaml --output_dir sweeps --world_sizes 1\n',
    )
  addPreparing(benchmark)
  addListing(benchmark)
}

function addPreparing(benchmark: Command): void {
  benchmark
    .command('prepare_sweep_configs')
    .description('Writes one configuration for each combination of the values under sweep and each world size.')
    .requiredOption('--sweep_config_path <file>', 'YAML file with lists of alternative values under sweep')
    .requiredOption('--output_dir <folder>', 'folder for the generated configurations')
    .option('--world_sizes <counts>', 'world sizes, separated by commas', worldSizes, [2])
    .addHelpText(
      'after',
      '\nExample:\n  penstock benchmark prepare_sweep_configs --sweep_config_path sweep.yaml --output_dir sweeps --world_sizes 1,2\n',
    )
    .action(async (flags: { sweep_config_path: string; output_dir: string; world_sizes: number[] }) => {
      const { prepareSweep } = await import('../../modalities/sweep.js')
      const paths = await prepareSweep(flags.sweep_config_path, flags.output_dir, flags.world_sizes)
      printOutput(paths.map(path => `${path}\n`).join(''))
    })
}

interface ListingFlags {
  readonly exp_root: string
  readonly world_size?: number
  readonly file_list_path: string
  readonly expected_steps: number
  readonly create_new_folders_if_partially_done?: boolean
  readonly skip_exception_types: string[]
}

function addListing(benchmark: Command): void {
  benchmark
    .command('list_remaining_runs')
    .description('Lists the configurations of a sweep without complete results, one path per line.')
    .requiredOption('--exp_root <folder>', 'root folder of the sweep')
    .option('--world_size <count>', 'only configurations for this world size', wholeNumber)
    .requiredOption('--file_list_path <file>', 'output file for the list')
    .requiredOption(
      '--expected_steps <count>',
      'number of lines in evaluation_results.jsonl of a completed run',
      wholeNumber,
    )
    .option(
      '--create_new_folders_if_partially_done',
      'copy unfinished configurations to new folders if other runs have completed',
    )
    .option('--skip_exception_types <names>', 'error types that are not retried, separated by commas', names, [])
    .addHelpText(
      'after',
      '\nExample:\n  penstock benchmark list_remaining_runs --exp_root sweeps --expected_steps 20 --file_list_path to_run.txt\n',
    )
    .action(async (flags: ListingFlags) => {
      const { remainingRuns } = await import('../../modalities/sweep.js')
      const { writeOver } = await import('../../files/replace-file.js')
      const { all, remaining } = await remainingRuns(flags.exp_root, {
        worldSize: flags.world_size,
        expectedSteps: flags.expected_steps,
        skippedErrors: flags.skip_exception_types,
        newFolders: flags.create_new_folders_if_partially_done === true,
      })
      if (all.length === 0) throw new PenstockError('FILE_MISSING', 'no configurations found', { file: flags.exp_root })
      await writeOver(flags.file_list_path, remaining.map(path => `${path}\n`).join(''))
      printOutput(`${flags.file_list_path}: ${remaining.length} of ${all.length} configurations\n`)
    })
}

const names = (text: string): string[] => text.split(',').filter(name => name !== '')

function worldSizes(text: string): number[] {
  return text.split(',').map(wholeNumber)
}
