import { type Command, Option } from 'commander'
import type { Variables } from '../../pipelines/definition.js'
import { collectVariable } from '../output/shared-options.js'

interface GraphFlags {
  readonly set: Variables
  readonly format?: 'svg' | 'mermaid'
  readonly output?: string
}

export function addGraphCommand(program: Command): void {
  program
    .command('graph')
    .summary('draw the pipelines of a definition')
    .description('Draws the pipelines of a definition, with what travels between the stages, as SVG or Mermaid.')
    .argument('<definition>', 'a YAML file')
    .option('--set <name=value>', 'give a variable another value; may be repeated', collectVariable, {})
    .addOption(new Option('--format <name>', 'by default that of the output, else mermaid').choices(['svg', 'mermaid']))
    .option('-o, --output <file>', 'write the picture to a file; standard output when absent')
    .addHelpText('after', '\nExample:\n  penstock graph configs/pack.yaml -o pack.svg\n')
    .action(async (file: string, flags: GraphFlags) => {
      const { graphsToMermaid, graphsToSvg } = await import('../../monitoring/draw-graph.js')
      const { checkDefinition } = await import('../../pipelines/check.js')
      const { graphOf } = await import('../../pipelines/graph.js')
      const { writeOver } = await import('../../files/durable.js')
      const { openDefinition } = await import('../actions/open-definition.js')
      const graphs = checkDefinition(await openDefinition(file, flags.set)).map(graphOf)
      const format = flags.format ?? (flags.output?.endsWith('.svg') ? 'svg' : 'mermaid')
      const picture = format === 'svg' ? graphsToSvg(graphs) : graphsToMermaid(graphs)
      if (flags.output === undefined) process.stdout.write(picture)
      else await writeOver(flags.output, picture)
    })
}
