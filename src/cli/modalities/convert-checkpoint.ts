import { type Command, Option } from 'commander'
import { printOutput } from '../output/print.js'
import type { OutputFlags } from '../output/shared-options.js'

interface Flags {
  readonly file_existence_policy: OutputFlags['ifExists']
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
    .addOption(
      new Option('--file_existence_policy <policy>', 'action if the output folder is not empty')
        .choices(['skip', 'error', 'override'])
        .default('error'),
    )
    .addHelpText(
      'after',
      '\nExample:\n  penstock convert_pytorch_to_hf_checkpoint --config_file_path convert.yaml \\\n    --output_hf_checkpoint_dir model --prediction_key logits\n',
    )
    .action(async ({ config_file_path, output_hf_checkpoint_dir, file_existence_policy }: Flags) => {
      const { openCheckpointPlan } = await import('../../modalities/plans/open-plan.js')
      const { convertCheckpoint, shouldWriteFolder } = await import('../actions/convert.js')
      if (!(await shouldWriteFolder(output_hf_checkpoint_dir, file_existence_policy))) return
      const { openAnyCheckpoint } = await import('./checkpoint.js')
      const { checkpointPath, tokenizerPath, model } = await openCheckpointPlan(config_file_path)
      const { path, close } = await openAnyCheckpoint(checkpointPath, model)
      try {
        printOutput(
          `${await convertCheckpoint(path, output_hf_checkpoint_dir, { tokenizer: tokenizerPath ?? undefined })}\n`,
        )
      } finally {
        await close()
      }
    })
}
