import { type Command, Option } from 'commander'
import type { Variables } from '../../pipelines/definition.js'
import { printOutput } from '../output/print.js'
import { setOption } from '../output/shared-options.js'

interface GraphFlags {
  readonly set?: Variables
  readonly format?: 'svg' | 'mermaid'
  readonly output?: string
}

export function addGraphCommand(program: Command): void {
  program
    .command('graph')
    .summary('draw the pipelines of a definition')
    .description('Draws the pipelines of a definition as SVG or Mermaid, with the item types between the stages.')
    .argument('<definition>', 'the definition, a YAML file')
    .option(...setOption)
    .addOption(
      new Option('--format <name>', 'picture format; by default svg for an .svg output, else mermaid').choices([
        'svg',
        'mermaid',
      ]),
    )
    .option('-o, --output <file>', 'file for the picture; standard output by default')
    .addHelpText('after', '\nExample:\n  penstock graph configs/pack.yaml -o pack.svg\n')
    .action(async (file: string, flags: GraphFlags) => {
      const { graphsToMermaid, graphsToSvg } = await import('../../monitoring/draw-graph.js')
      const { checkDefinition } = await import('../../pipelines/check.js')
      const { graphOf } = await import('../../pipelines/graph.js')
      const { refuseInputs } = await import('../../files/file-identity.js')
      const { writeOver } = await import('../../files/replace-file.js')
      const { openDefinition } = await import('../actions/open-definition.js')
      const graphs = checkDefinition(await openDefinition(file, flags.set)).map(graphOf)
      const format = flags.format ?? (flags.output?.endsWith('.svg') ? 'svg' : 'mermaid')
      const picture = format === 'svg' ? graphsToSvg(graphs) : graphsToMermaid(graphs)
      if (flags.output === undefined) printOutput(picture)
      else {
        refuseInputs([flags.output], [file])
        await writeOver(flags.output, picture)
      }
    })
}
