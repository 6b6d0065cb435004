import type { Command } from 'commander'

interface Flags {
  readonly config_file_path: string
  readonly output_hf_checkpoint_dir: string
}

/** `convert_pytorch_to_hf_checkpoint`: Modalities' name for `convert`. */
export function addConvertModalitiesCommand(program: Command): void {
  program
    .command('convert_pytorch_to_hf_checkpoint')
    .summary('convert a checkpoint to a Hugging Face model folder')
    .description('Writes config.json, model.safetensors and the tokenizer of a checkpoint for use with transformers.')
    .requiredOption('--config_file_path <file>', 'YAML file that describes the checkpoint under checkpointed_model')
    .requiredOption('--output_hf_checkpoint_dir <folder>', 'output folder of the converted model')
    .requiredOption(
      '--prediction_key <name>',
      'accepted for compatibility and ignored: transformers always names its output logits',
    )
    .addHelpText(
      'after',
      '\nExample:\n  penstock convert_pytorch_to_hf_checkpoint --config_file_path convert.yaml \\\n    --output_hf_checkpoint_dir model --prediction_key logits\n',
    )
    .action(async ({ config_file_path, output_hf_checkpoint_dir }: Flags) => {
      const { openCheckpointPlan } = await import('../../modalities/plans/open-plan.js')
      const { convertCheckpoint } = await import('../actions/convert.js')
      const { openAnyCheckpoint } = await import('./checkpoint.js')
      const { checkpointPath, tokenizerPath, model } = await openCheckpointPlan(config_file_path)
      const { path, close } = await openAnyCheckpoint(checkpointPath, model)
      try {
        process.stdout.write(`${await convertCheckpoint(path, output_hf_checkpoint_dir, tokenizerPath ?? undefined)}\n`)
      } finally {
        await close()
      }
    })
}
