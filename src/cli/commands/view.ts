import type { Command } from 'commander'
import { wholeNumber } from '../output/terminal.js'

export function addViewCommand(program: Command): void {
  program
    .command('view')
    .summary('compare runs in the dashboard')
    .description(
      'Serves a dashboard of past or current runs, read from their log.jsonl, and of work in shards on this machine only, until it is stopped.',
    )
    .argument('<runs...>', 'run folders, folders of runs, log files, or folders of plans of shards')
    .option('--port <number>', 'port of the dashboard; 0 for any free port', wholeNumber, 0)
    .addHelpText('after', '\nExamples:\n  penstock view runs\n  penstock view runs/first runs/second\n')
    .action(async (paths: string[], { port }: { port: number }) => {
      const { viewRuns } = await import('../actions/view.js')
      await viewRuns(paths, port)
    })
}
