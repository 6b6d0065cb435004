import type { Command } from 'commander'
import type { SlurmFlags } from '../../actions/cluster/launch.js'
import { setOption, shardFolderOption } from '../../output/shared-options.js'
import { positiveInteger, wholeNumber } from '../../output/terminal.js'

export function addLaunchCommand(program: Command): void {
  const launch = program
    .command('launch')
    .summary('run shards with Slurm, Ray or Kubernetes')
    .description(
      'Hands the shards of a definition to the scheduler of a cluster, which runs them and merges their outputs. All machines need the same shared folders.',
    )
  addWorkOptions(launch.command('slurm'))
    .summary('submit an array job and a merge to Slurm')
    .description(
      'Submits an array job that runs the shards, and a job that merges them. Tasks of lost nodes and tasks that fail with exit code 75 return to the queue; faulty input does not.',
    )
    .option(
      '--nodes <count>',
      'number of tasks to run at the same time; by default, as many as Slurm starts',
      positiveInteger,
    )
    .option(
      '--tasks <count>',
      'number of array tasks; by default, one per shard up to the limit of the cluster',
      positiveInteger,
    )
    .option('--cpus <count>', 'cores of each task', positiveInteger, 1)
    .option('--memory <size>', 'memory of each task, such as 8G')
    .option('--time <limit>', 'time limit of each task, such as 12:00:00; a task that reaches it resumes in a new one')
    .option('--partition <name>', 'partition of the jobs')
    .option('--account <name>', 'account of the jobs')
    .option('--sbatch <options...>', 'more options of sbatch for both jobs, such as --sbatch=--qos=long')
    .option('--retries <count>', 'restarts of a task that fails with exit code 75', wholeNumber, 3)
    .option('--dry-run', 'print the scripts without submitting them')
    .addHelpText(
      'after',
      '\nExample:\n  penstock launch slurm pack.yaml --shards 1000 --nodes 20 --cpus 16 --memory 16G\n',
    )
    .action(async (work: string, flags: SlurmFlags) => {
      const { launchSlurm } = await import('../../actions/cluster/launch.js')
      await launchSlurm(work, flags)
    })
  launch
    .command('status')
    .summary('show the shards and the jobs that run them')
    .description('Shows the state of all shards, as penstock shards status does, and of the jobs of the scheduler.')
    .argument('<folder>', 'folder of the plan')
    .option('--json', 'print two JSON lines: the status of the shards, and that of the jobs')
    .addHelpText('after', '\nExample:\n  penstock launch status corpus.pbin.shards\n')
    .action(async (folder: string, flags: { json?: boolean }) => {
      const { printLaunchStatus } = await import('../../actions/cluster/launch.js')
      await printLaunchStatus(folder, flags)
    })
  launch
    .command('stop')
    .summary('stop the jobs that run the shards')
    .description('Stops the jobs of the scheduler. Complete shards are kept, and another launch resumes the others.')
    .argument('<folder>', 'folder of the plan')
    .addHelpText('after', '\nExample:\n  penstock launch stop corpus.pbin.shards\n')
    .action(async (folder: string) => {
      const { stopLaunch } = await import('../../actions/cluster/launch.js')
      await stopLaunch(folder)
    })
}

/** The work, and how the machines of a cluster run Penstock. */
function addWorkOptions(command: Command): Command {
  return command
    .argument('<work>', 'a definition, or the folder of a plan')
    .option('--shards <count>', 'number of shards of a definition', positiveInteger)
    .option(...shardFolderOption)
    .option(...setOption)
    .option(
      '--penstock <command>',
      'command that runs Penstock on the machines, such as "npx penstock"; by default, this installation',
    )
    .option('--quiet', 'print only errors')
    .option('--json', 'print the result as JSON lines on standard error')
}
