import type { Command } from 'commander'
import type { Variables } from '../../pipelines/definition.js'
import { printOutput } from '../output/print.js'
import { setOption } from '../output/shared-options.js'
import { positiveInteger } from '../output/terminal.js'
import type { Plan } from '../plan/model.js'

interface PlanFlags {
  readonly set?: Variables
  readonly gpus?: number
  readonly gpu: string
  readonly json?: boolean
}

export function addPlanCommand(program: Command): void {
  program
    .command('plan')
    .summary('estimate what a definition will do, and find problems before it runs')
    .description(
      'Shows what a definition reads and writes, estimates counts, time, memory and disk space, and lists problems. Runs each pipeline for two seconds; writes nothing.',
    )
    .argument('<definition>', 'the definition, a YAML file')
    .option(...setOption)
    .option('--gpus <number>', 'estimate trainings on this many GPUs, which need not exist here', positiveInteger)
    .option('--gpu <name>', 'kind of these GPUs, such as a100-80, h100-80, h200, b200, mi300x', 'h100-80')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  penstock plan configs/train.yaml\n  penstock plan configs/train.yaml --gpus 64 --gpu h200\n',
    )
    .action(async (file: string, flags: PlanFlags) => {
      const { openDefinition } = await import('../actions/open-definition.js')
      const { planDefinition } = await import('../plan/definition.js')
      const { planText } = await import('../plan/text.js')
      const { clusterOf } = await import('../plan/cluster.js')
      const cluster = flags.gpus === undefined ? undefined : clusterOf(flags.gpus, flags.gpu)
      const plan = await planDefinition(await openDefinition(file, flags.set), { cluster })
      printOutput(flags.json ? `${JSON.stringify(plan, null, 2)}\n` : `${planText(plan)}${nextLine(file, flags, plan)}`)
      if (plan.problems.some(problem => problem.severity === 'error')) process.exitCode = 1
    })
}

/** The command that runs the definition as it was planned. */
function nextLine(file: string, { set = {}, gpus }: PlanFlags, { problems }: Plan): string {
  if (gpus !== undefined || problems.some(({ severity }) => severity === 'error')) return ''
  const variables = Object.entries(set).map(([name, value]) => ` --set ${name}=${value}`)
  return `next: penstock run ${file}${variables.join('')}\n`
}
