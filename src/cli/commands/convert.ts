import type { Command } from 'commander'
import { rejectUnused } from '../output/unused-flags.js'

interface Flags {
  readonly back?: boolean
  readonly modalities?: string
  readonly tokenizer?: string
}

export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .summary('convert a checkpoint to a Hugging Face folder, or back')
    .description(
      'Writes the model of a checkpoint as config.json and model.safetensors, in the Llama or GPT-2 layout, depending on its options. With --back, converts such a folder, and with --modalities, a checkpoint of Modalities, to a checkpoint for penstock generate.',
    )
    .argument('<from>', 'a checkpoint, or a folder of checkpoints (the newest is used)')
    .argument('<to>', 'the output folder')
    .option('--back', 'convert a Hugging Face folder to a checkpoint')
    .option(
      '--modalities <config>',
      'convert a .bin or distributed checkpoint of Modalities, trained with this configuration',
    )
    .option('--tokenizer <path>', 'tokenizer of the model; by default, the one that the checkpoint records')
    .addHelpText('after', '\nExample:\n  penstock convert data/quickstart/checkpoints my-model\n')
    .action(async (from: string, to: string, flags: Flags) => {
      if (flags.modalities !== undefined) rejectUnused(flags, ['back'], 'with --modalities')
      const { convertBack, convertCheckpoint } = await import('../actions/convert.js')
      if (flags.modalities !== undefined) {
        const { convertModalities } = await import('../modalities/checkpoint.js')
        process.stdout.write(`${await convertModalities(from, to, flags.modalities, flags.tokenizer)}\n`)
        return
      }
      const line = flags.back
        ? await convertBack(from, to, flags.tokenizer)
        : await convertCheckpoint(from, to, flags.tokenizer)
      process.stdout.write(`${line}\n`)
    })
}
