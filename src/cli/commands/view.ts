import type { Command } from 'commander'
import { wholeNumber } from '../output/terminal.js'

export function addViewCommand(program: Command): void {
  program
    .command('view')
    .summary('look at past runs, side by side')
    .description('Serves a page about past runs, on this machine only, until it is stopped. Reads their log.jsonl.')
    .argument('<runs...>', 'run folders, or logs')
    .option('--port <number>', 'of the page; any free one when absent', wholeNumber, 0)
    .addHelpText('after', '\nExample:\n  penstock view runs/first runs/second\n')
    .action(async (paths: string[], { port }: { port: number }) => {
      const { viewRuns } = await import('../actions/view.js')
      await viewRuns(paths, port)
    })
}
