import { Argument, type Command } from 'commander'
import { printOutput } from '../output/print.js'

export function addSchemaCommand(program: Command): void {
  program
    .command('schema')
    .summary('print a JSON Schema for editors')
    .description(
      'Prints the JSON Schema of Penstock definitions or of Modalities configurations, for completion and validation in editors.',
    )
    .addArgument(
      new Argument('[kind]', 'file type: a definition, or a training or packing configuration of Modalities')
        .choices(['definition', 'training', 'packing'])
        .default('definition'),
    )
    .addHelpText('after', '\nExample:\n  penstock schema training > modalities-training.schema.json\n')
    .action(async (kind: 'definition' | 'training' | 'packing') => {
      printOutput(`${JSON.stringify(await schemaOf(kind), null, 2)}\n`)
    })
}

async function schemaOf(kind: 'definition' | 'training' | 'packing'): Promise<unknown> {
  if (kind === 'definition') return (await import('../../pipelines/definition-schema.js')).definitionJsonSchema()
  const { packingJsonSchema, trainingJsonSchema } = await import('../../modalities/json-schema.js')
  return kind === 'training' ? trainingJsonSchema() : packingJsonSchema()
}
