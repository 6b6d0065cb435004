import type { Command } from 'commander'
import type { Variables } from '../../pipelines/definition.js'
import { collectVariable } from '../output/shared-options.js'

export function addPlanCommand(program: Command): void {
  program
    .command('plan')
    .summary('say what a definition would do, and what would go wrong')
    .description(
      'Says what a definition reads and writes, how much of what, how long it takes and what would go wrong. Tries each pipeline for two seconds; writes nothing.',
    )
    .argument('<definition>', 'a YAML file')
    .option('--set <name=value>', 'give a variable another value; may be repeated', collectVariable, {})
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExample:\n  penstock plan configs/train.yaml\n')
    .action(async (file: string, flags: { set: Variables; json?: boolean }) => {
      const { openDefinition } = await import('../actions/open-definition.js')
      const { planDefinition } = await import('../plan/definition.js')
      const { planText } = await import('../plan/text.js')
      const plan = await planDefinition(await openDefinition(file, flags.set))
      process.stdout.write(flags.json ? `${JSON.stringify(plan, null, 2)}\n` : planText(plan))
      if (plan.problems.some(problem => problem.severity === 'error')) process.exitCode = 1
    })
}
