import type { Command } from 'commander'
import type { Variables } from '../../../pipelines/definition.js'
import type { MergeFlags } from '../../actions/cluster/merge-shards.js'
import type { PlanFlags } from '../../actions/cluster/plan-shards.js'
import type { RunShardsFlags } from '../../actions/cluster/run-shards.js'
import { setOption, shardFolderOption } from '../../output/shared-options.js'
import { positiveInteger } from '../../output/terminal.js'

export function addShardsCommand(program: Command): void {
  const shards = program
    .command('shards')
    .summary('process a corpus in parts on many machines')
    .description(
      'Divides a pipeline into shards, which any machine can run, and merges their outputs into the files that one machine would have written.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  penstock shards plan pack.yaml --shards 12 --shard-folder corpus.shards\n  penstock shards run corpus.shards\n  penstock shards merge corpus.shards\n',
    )
  shards
    .command('plan')
    .summary('divide a definition into shards')
    .description(
      'Divides the sources of a definition by size, at the ends of files, of lines of JSONL and of row groups of Parquet, and writes the plan to a folder that all machines share.',
    )
    .argument('<definition>', 'a definition with one pipeline into packed files or indexes')
    .requiredOption('--shards <count>', 'number of shards', positiveInteger)
    .option(...shardFolderOption)
    .option(...setOption)
    .option('--quiet', 'print only errors')
    .option('--json', 'print the result as a JSON line on standard error')
    .addHelpText('after', '\nExample:\n  penstock shards plan pack.yaml --shards 12 --shard-folder corpus.shards\n')
    .action(async (file: string, flags: PlanFlags & { set?: Variables }) => {
      const { openDefinition } = await import('../../actions/open-definition.js')
      const { planDefinition } = await import('../../actions/cluster/plan-shards.js')
      await planDefinition(await openDefinition(file, flags.set), flags)
    })
  shards
    .command('run')
    .summary('run the shards of one task')
    .description(
      'Runs shards that are not complete. The task is given by --shard, or by the environment of Slurm, of a Kubernetes Job, or PENSTOCK_SHARD_INDEX and PENSTOCK_SHARD_COUNT; without any, all shards run here. Exit codes: 65 for faulty input and 2 for a wrong configuration, which a retry does not help, 75 for failures that a retry can resolve.',
    )
    .argument('<folder>', 'folder of the plan')
    .option('--shard <i/n>', 'run the shards i, i + n, i + 2n and so on, as task i of n; i begins at 0')
    .option(
      '--pass <number>',
      'run only this pass of a shuffle, 1 or 2; by default, one after the other',
      positiveInteger,
    )
    .option('--stop-with-parent', 'stop when standard input closes, as it does when the parent process is gone')
    .option('--quiet', 'print only errors')
    .option('--json', 'print progress and results as JSON lines on standard error')
    .addHelpText('after', '\nExample:\n  penstock shards run corpus.shards --shard 3/12\n')
    .action(async (folder: string, flags: RunShardsFlags) => {
      const { runShards } = await import('../../actions/cluster/run-shards.js')
      await runShards(folder, flags)
    })
  shards
    .command('status')
    .summary('show how far the shards are')
    .description('Shows the state of all shards, from their records and heartbeats in the folder of the plan.')
    .argument('<folder>', 'folder of the plan')
    .option('--json', 'print the status as one JSON line, with every shard that is running or has failed')
    .addHelpText('after', '\nExample:\n  penstock shards status corpus.shards\n')
    .action(async (folder: string, flags: { json?: boolean }) => {
      const { printShardsStatus } = await import('../../actions/cluster/shards-status.js')
      await printShardsStatus(folder, flags)
    })
  shards
    .command('merge')
    .summary('merge the outputs of all shards')
    .description(
      'Checks that every shard is complete and unchanged, and writes the files that a run on one machine would have written.',
    )
    .argument('<folder>', 'folder of the plan')
    .option('--no-verify', 'do not compare each part with its checksums, which reads the parts twice')
    .option('--quiet', 'print only errors')
    .option('--json', 'print progress and results as JSON lines on standard error')
    .addHelpText('after', '\nExample:\n  penstock shards merge corpus.shards\n')
    .action(async (folder: string, flags: MergeFlags) => {
      const { mergeFolder } = await import('../../actions/cluster/merge-shards.js')
      await mergeFolder(folder, flags)
    })
}
