import type { Command } from 'commander'

interface Flags {
  readonly config_file_path: string
  readonly output_hf_checkpoint_dir: string
}

/** The reference system's name for `convert`. */
export function addConvertReferenceCommand(program: Command): void {
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
    .action(async ({ config_file_path, output_hf_checkpoint_dir }: Flags) => {
      const { openCheckpointPlan } = await import('../../modalities/plans/open-plan.js')
      const { convertCheckpoint } = await import('../actions/convert.js')
      const { openUsable } = await import('./checkpoint.js')
      const { checkpointPath, tokenizerPath, model } = await openCheckpointPlan(config_file_path)
      const { path, close } = await openUsable(checkpointPath, model)
      try {
        process.stdout.write(`${await convertCheckpoint(path, output_hf_checkpoint_dir, tokenizerPath ?? undefined)}\n`)
      } finally {
        await close()
      }
    })
}
