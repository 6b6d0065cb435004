import { text as readText } from 'node:stream/consumers'
import { type Command, Option } from 'commander'
import { PenstockError, toPenstockError } from '../../errors.js'
import type { ModelSource, TextModel, TextOptions } from '../../pipelines/text-model.js'
import { reportDamaged } from '../output/notices.js'
import { printGenerated, printOutput } from '../output/print.js'
import { backendOption } from '../output/shared-options.js'
import { numberAtLeast, positiveInteger, share, wholeNumber } from '../output/terminal.js'
import { rejectUnused } from '../output/unused-flags.js'

type Flags = ModelSource &
  Omit<TextOptions, 'prompt'> & { prompt?: string; prompts?: string; samples: number; json?: boolean }

export function addGenerateCommand(program: Command): void {
  program
    .command('generate')
    .summary('generate text with a trained model')
    .description(
      'Continues prompts with the model of a checkpoint and prints the texts to standard output, token by token. A text ends at the end of a document.',
    )
    .argument('<checkpoint>', 'a checkpoint, or a folder of checkpoints (the newest is used)')
    .option('-p, --prompt <text>', 'the text to continue')
    .option('--prompts <file>', 'file with one prompt per line; - for standard input')
    .option('-n, --max-tokens <count>', 'maximum number of tokens to generate', wholeNumber, 100)
    .option('--samples <count>', 'number of texts per prompt; the seed increases by 1 for each', positiveInteger, 1)
    .option(
      '--temperature <value>',
      'sampling temperature; 0 always takes the most likely token',
      numberAtLeast(0),
      0.8,
    )
    .option('--top-k <count>', 'sample only from this many of the most likely tokens', positiveInteger)
    .option('--top-p <share>', 'sample only from the most likely tokens that hold this share of the probability', share)
    .option('--min-p <share>', 'drop tokens less likely than this share of the most likely one', share)
    .option(
      '--repetition-penalty <factor>',
      'factor above 1 that makes tokens of the text less likely',
      numberAtLeast(0.01),
    )
    .option('--no-stop', 'continue after the end of a document')
    .option('--seed <number>', 'seed of the sampling', wholeNumber, 0)
    .option('--tokenizer <path>', 'path of the tokenizer; by default, the one in the checkpoint')
    .addOption(
      new Option('--engine <name>', 'engine that computes the model').choices(['tfjs', 'torch']).default('tfjs'),
    )
    .addOption(backendOption().default('wasm'))
    .option('--json', 'print a JSON line per text: prompt, text, tokens, end (end-token or max-tokens), seed')
    .addHelpText(
      'after',
      "\nExamples:\n  penstock generate data/quickstart/checkpoints --prompt 'The state of the Union'\n  penstock generate data/quickstart/checkpoints --prompts prompts.txt --samples 2 --top-p 0.9 --json\n",
    )
    .action(async (checkpoint: string, flags: Flags, command: Command) => {
      if (flags.engine === 'torch' && command.getOptionValueSource('backend') === 'cli') {
        rejectUnused(flags, ['backend'], 'with --engine torch')
      }
      const prompts = await readPrompts(flags)
      const { TextModel } = await import('../../pipelines/text-model.js')
      const model = await TextModel.open(checkpoint, { ...flags, onDamaged: reportDamaged })
      try {
        const texts = prompts.flatMap(prompt =>
          Array.from({ length: flags.samples }, (_, sample) => ({ ...flags, prompt, seed: flags.seed + sample })),
        )
        for (const [index, options] of texts.entries()) {
          if (flags.json === true) await printJson(model, options)
          else await printText(model, options, index > 0)
        }
      } finally {
        await model.close()
      }
    })
}

async function readPrompts({ prompt, prompts }: Flags): Promise<string[]> {
  if ((prompt === undefined) === (prompts === undefined)) {
    throw new PenstockError('ARGUMENT_INVALID', 'generate needs either --prompt or --prompts')
  }
  if (prompts === undefined) return [prompt!]
  const text = await readPromptFile(prompts).catch(error => {
    throw toPenstockError(error, error.code === 'ENOENT' ? 'FILE_MISSING' : 'FILE_UNREADABLE', { file: prompts })
  })
  const lines = text.split(/\r?\n/).filter(line => line !== '')
  if (lines.length > 0) return lines
  throw new PenstockError('ARGUMENT_INVALID', 'there is no prompt in the file', { file: prompts })
}

async function readPromptFile(path: string): Promise<string> {
  const { openByteStream } = await import('../../files/byte-stream.js')
  return readText(openByteStream(path))
}

/** Texts after the first are separated by a line of three dashes. */
async function printText(model: TextModel, options: TextOptions, isSeparated: boolean): Promise<void> {
  if (isSeparated) printOutput('---\n')
  for await (const piece of model.continue(options)) printGenerated(piece)
  printOutput('\n')
}

async function printJson(model: TextModel, options: TextOptions): Promise<void> {
  const pieces = model.continue(options)
  let text = ''
  let next = await pieces.next()
  for (; next.done !== true; next = await pieces.next()) text += next.value
  const { promptTokens, tokens, end } = next.value
  const { prompt, seed } = options
  printOutput(`${JSON.stringify({ prompt, text, prompt_tokens: promptTokens, tokens, end, seed })}\n`)
}
