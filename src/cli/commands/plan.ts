import type { Command } from 'commander'
import type { Variables } from '../../pipelines/definition.js'
import { printOutput } from '../output/print.js'
import { setOption } from '../output/shared-options.js'

export function addPlanCommand(program: Command): void {
  program
    .command('plan')
    .summary('estimate what a definition will do, and find problems before it runs')
    .description(
      'Shows what a definition reads and writes, estimates counts, time, memory and disk space, and lists problems. Runs each pipeline for two seconds; writes nothing.',
    )
    .argument('<definition>', 'the definition, a YAML file')
    .option(...setOption)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  penstock plan configs/train.yaml\n')
    .action(async (file: string, flags: { set?: Variables; json?: boolean }) => {
      const { openDefinition } = await import('../actions/open-definition.js')
      const { planDefinition } = await import('../plan/definition.js')
      const { planText } = await import('../plan/text.js')
      const plan = await planDefinition(await openDefinition(file, flags.set))
      printOutput(flags.json ? `${JSON.stringify(plan, null, 2)}\n` : planText(plan))
      if (plan.problems.some(problem => problem.severity === 'error')) process.exitCode = 1
    })
}
