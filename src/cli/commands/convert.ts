import type { Command } from 'commander'
import { printOutput } from '../output/print.js'
import { type OutputFlags, outputPolicyOption } from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'
import { rejectUnused } from '../output/unused-flags.js'

interface Flags extends Pick<OutputFlags, 'ifExists'> {
  readonly back?: boolean
  readonly modalities?: string
  readonly tokenizer?: string
  readonly endOfDocument?: string
  readonly dtype?: 'f32' | 'bf16' | 'f16'
  readonly maxShardSize?: number
}

const DTYPES = { f32: 'F32', bf16: 'BF16', f16: 'F16' } as const

export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .summary('convert a checkpoint to a Hugging Face folder, or back')
    .description(
      'Writes a folder that transformers opens: the model of a checkpoint in the Llama, Qwen3 or GPT-2 layout, depending on its options, and its tokenizer. With --back, converts such a folder, and with --modalities, a checkpoint of Modalities, to a checkpoint for penstock generate.',
    )
    .argument('<from>', 'a checkpoint, or a folder of checkpoints (the newest is used)')
    .argument('<to>', 'the output folder')
    .option('--back', 'convert a Hugging Face folder to a checkpoint')
    .option(
      '--modalities <config>',
      'convert a .bin or distributed checkpoint of Modalities, trained with this configuration',
    )
    .option(
      '--tokenizer <path>',
      'the tokenizer of the model; by default, that of the checkpoint or of the Hugging Face folder',
    )
    .option(
      '--end-of-document <token>',
      'end token of the exported model; by default, the token that ends the documents of the training data',
    )
    .addOption(
      program
        .createOption('--dtype <type>', 'type of the exported weights: f32, bf16 or f16 (default: f32)')
        .choices(['f32', 'bf16', 'f16']),
    )
    .option(
      '--max-shard-size <GB>',
      'a larger model is exported as several files of at most this size (default: 5)',
      wholeNumber,
    )
    .addOption(outputPolicyOption('how to handle an output folder that is not empty'))
    .addHelpText('after', '\nExample:\n  penstock convert data/quickstart/checkpoints my-model\n')
    .action(async (from: string, to: string, flags: Flags) => {
      if (flags.modalities !== undefined) rejectUnused(flags, ['back'], 'with --modalities')
      if (flags.back || flags.modalities !== undefined) {
        rejectUnused(flags, ['endOfDocument', 'dtype', 'maxShardSize'], 'with --back and --modalities')
      }
      const { convertBack, convertCheckpoint, shouldWriteFolder } = await import('../actions/convert.js')
      if (!(await shouldWriteFolder(to, flags.ifExists))) return
      if (flags.modalities !== undefined) {
        const { convertModalities } = await import('../modalities/checkpoint.js')
        printOutput(`${await convertModalities(from, to, flags.modalities, flags.tokenizer)}\n`)
        return
      }
      const { dtype, maxShardSize, ...options } = flags
      const line = flags.back
        ? await convertBack(from, to, flags.tokenizer)
        : await convertCheckpoint(from, to, {
            ...options,
            dtype: dtype && DTYPES[dtype],
            maxShardBytes: maxShardSize && maxShardSize * 1e9,
          })
      printOutput(`${line}\n`)
    })
}
