import type { Command } from 'commander'
import { PenstockError } from '../../../errors.js'
import type { KubernetesFlags } from '../../actions/cluster/launch-kubernetes.js'
import type { RayFlags } from '../../actions/cluster/launch-ray.js'
import type { SlurmFlags } from '../../actions/cluster/launch-slurm.js'
import { setOption, shardFolderOption } from '../../output/shared-options.js'
import { positiveInteger, wholeNumber } from '../../output/terminal.js'

export function addLaunchCommand(program: Command): void {
  const launch = program
    .command('launch')
    .summary('run shards with Slurm, Ray or Kubernetes')
    .description(
      'Hands the shards of a definition to the scheduler of a cluster, which runs them and merges their outputs. All machines need the same shared folders.',
    )
    .addHelpText('after', '\nExample:\n  penstock launch slurm pack.yaml --shards 12 --nodes 4\n')
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
      const { launchSlurm } = await import('../../actions/cluster/launch-slurm.js')
      await launchSlurm(work, flags)
    })
  addWorkOptions(launch.command('ray'))
    .summary('submit the shards as a job to a Ray cluster')
    .description(
      'Submits a job that runs the shards as tasks of a Ray cluster and merges them, and follows its log. Ray retries tasks of lost nodes and tasks that fail with exit code 75; faulty input is not retried. Ctrl-C asks whether to stop the job or to leave it running.',
    )
    .requiredOption('--address <url>', 'address of the dashboard of the cluster, such as http://head:8265')
    .option('--tasks <count>', 'number of Ray tasks; by default, one per shard', positiveInteger)
    .option('--cpus <count>', 'cores that Ray reserves for each task', positiveInteger, 1)
    .option('--memory <size>', 'memory that Ray reserves for each task, such as 8G', memorySize)
    .option('--retries <count>', 'retries of a task that fails with exit code 75 or loses its node', wholeNumber, 3)
    .option('--python <program>', 'Python of the head node, in which Ray is installed', 'python3')
    .option('--container <image>', 'container image in which the tasks run')
    .option('--runtime-env <file>', 'runtime environment of Ray for the job, a JSON file')
    .option('--detach', 'return once the job is submitted')
    .addHelpText(
      'after',
      '\nExample:\n  penstock launch ray pack.yaml --shards 1000 --address http://head:8265 --cpus 16 --memory 16G\n',
    )
    .action(async (work: string, flags: RayFlags) => {
      const { launchRay } = await import('../../actions/cluster/launch-ray.js')
      await launchRay(work, flags)
    })
  addWorkOptions(launch.command('kubernetes'), 'by default, penstock')
    .summary('write a Kubernetes manifest that runs and merges the shards')
    .description(
      'Prints the manifest of an Indexed Job that runs the shards, and of a suspended Job that merges them, and writes it to a file. kubectl apply starts the first Job, and kubectl patch the second one once all shards are complete; the command prints both. Pods that fail are replaced, except after faulty input.',
    )
    .requiredOption('--image <image>', 'container image with Penstock')
    .requiredOption(
      '--volume <claim:path...>',
      'persistent volume claims and the paths where pods mount them, such as work:/work; the plan and its outputs must be below one of the paths',
    )
    .option('--name <name>', 'first part of the names of both jobs; by default, the name of the definition')
    .option('--namespace <name>', 'namespace of the jobs')
    .option(
      '--tasks <count>',
      'number of indexes of the job, up to 100,000; by default, one per shard',
      positiveInteger,
    )
    .option('--parallelism <count>', 'number of pods that run at the same time', positiveInteger, 10)
    .option('--cpus <count>', 'cores of each pod', positiveInteger, 1)
    .option('--memory <size>', 'memory of each pod, such as 8G', memorySize)
    .option('--retries <count>', 'retries of an index, except after exit codes 65 and 2', wholeNumber, 3)
    .option('--max-failed <count>', 'failed indexes that the job tolerates before it is stopped', wholeNumber, 10)
    .option('-o, --output <file>', 'file for the manifest; by default, kubernetes.yaml in the folder of the plan')
    .option('--dry-run', 'print the manifest without writing it')
    .addHelpText(
      'after',
      '\nExample:\n  penstock launch kubernetes pack.yaml --shards 1000 --image my-registry/penstock --volume work:/work --parallelism 20 --cpus 16 --memory 16G\n',
    )
    .action(async (work: string, flags: KubernetesFlags) => {
      const { launchKubernetes } = await import('../../actions/cluster/launch-kubernetes.js')
      await launchKubernetes(work, flags)
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

/** `8G` as bytes, in powers of 1,024. @throws ARGUMENT_INVALID */
function memorySize(text: string): number {
  const [, amount, unit] = /^(\d+)([MGT])$/.exec(text) ?? []
  if (amount !== undefined) return Number(amount) * 1024 ** (2 + 'MGT'.indexOf(unit!))
  throw new PenstockError('ARGUMENT_INVALID', `expected a size such as 512M or 8G, found ${JSON.stringify(text)}`)
}

/** The work, and how the machines of a cluster run Penstock. */
function addWorkOptions(command: Command, defaultCommand = 'by default, this installation'): Command {
  return command
    .argument('<work>', 'a definition, or the folder of a plan')
    .option('--shards <count>', 'number of shards of a definition', positiveInteger)
    .option(...shardFolderOption)
    .option(...setOption)
    .option(
      '--penstock <command>',
      `command that runs Penstock on the machines, such as "npx penstock"; ${defaultCommand}`,
    )
    .option('--quiet', 'print only errors')
    .option('--json', 'print the result as JSON lines on standard error')
}
