import type { Command } from 'commander'

export interface ConvertFlags {
  readonly config_file_path: string
  readonly output_hf_checkpoint_dir: string
  readonly prediction_key: string
}

export function addConvertCommand(program: Command): void {
  program
    .command('convert_pytorch_to_hf_checkpoint')
    .summary('make a checkpoint into a model folder of transformers')
    .description('Writes config.json, model.safetensors and the tokenizer of a checkpoint, for transformers to open.')
    .requiredOption('--config_file_path <file>', 'a YAML file with the checkpoint under checkpointed_model')
    .requiredOption('--output_hf_checkpoint_dir <folder>', 'the folder to write')
    .requiredOption('--prediction_key <name>', 'has no effect: logits have one name in transformers')
    .addHelpText(
      'after',
      '\nExample:\n  penstock convert_pytorch_to_hf_checkpoint --config_file_path convert.yaml \\\n    --output_hf_checkpoint_dir model --prediction_key logits\n',
    )
    .action(async (flags: ConvertFlags) => {
      const { convertCheckpoint } = await import('./convert-checkpoint.js')
      const folder = await convertCheckpoint(flags)
      process.stdout.write(`${folder}\n`)
    })
}
