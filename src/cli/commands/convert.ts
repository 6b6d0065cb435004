import type { Command } from 'commander'

interface Flags {
  readonly back?: boolean
  readonly modalities?: string
  readonly tokenizer?: string
}

export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .summary('turn a checkpoint into a Hugging Face folder, or back')
    .description(
      'Writes the model of a checkpoint as config.json and model.safetensors, in the layout of Llama or GPT-2, whichever fits its options. With --back the first argument is such a folder, with --modalities a checkpoint that Modalities wrote; a checkpoint to generate from is made.',
    )
    .argument('<from>', 'a checkpoint, or a folder of checkpoints (the newest is taken)')
    .argument('<to>', 'the folder to write')
    .option('--back', 'from Hugging Face to a checkpoint')
    .option(
      '--modalities <config>',
      'from a .bin or distributed checkpoint of Modalities, made with this configuration',
    )
    .option('--tokenizer <path>', 'with --back and --modalities: the tokenizer.json that belongs to the model')
    .addHelpText('after', '\nExample:\n  penstock convert data/quickstart/checkpoints my-model\n')
    .action(async (from: string, to: string, flags: Flags) => {
      const { convertBack, convertCheckpoint } = await import('../actions/convert.js')
      if (flags.modalities !== undefined) {
        const { convertReference } = await import('../modalities/checkpoint.js')
        process.stdout.write(`${await convertReference(from, to, flags.modalities, flags.tokenizer)}\n`)
        return
      }
      const done = flags.back ? await convertBack(from, to, flags.tokenizer) : await convertCheckpoint(from, to)
      process.stdout.write(`${done}\n`)
    })
}
