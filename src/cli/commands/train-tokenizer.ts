import type { Command } from 'commander'
import type { RunFlags } from '../actions/run-definition.js'
import {
  addFaultOptions,
  addOutputOptions,
  type FaultFlags,
  faultOptionsOf,
  type OutputFlags,
} from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'

interface TrainTokenizerFlags extends RunFlags, FaultFlags, OutputFlags {
  readonly output: string
  readonly vocabSize: number
  readonly minFrequency: number
  readonly specialTokens: readonly string[]
  readonly field: string
  readonly workers?: number
}

export function addTrainTokenizerCommand(program: Command): void {
  const command = program
    .command('train-tokenizer')
    .summary('train a byte-level BPE tokenizer')
    .description(
      'Trains a byte-level BPE tokenizer on one field of each line of a JSONL file and writes a Hugging Face tokenizer.json.',
    )
    .argument('<source>', 'the JSONL file, optionally .gz or .zst')
    .option('-o, --output <file>', 'the tokenizer file', 'tokenizer.json')
    .option('--vocab-size <count>', 'size of the vocabulary, including special tokens', wholeNumber, 32_768)
    .option('--min-frequency <count>', 'do not merge pairs that occur less often than this', wholeNumber, 0)
    .option('--special-tokens <token...>', 'special tokens, which get the first ids', ['<|endoftext|>'])
    .option('--field <filter>', 'the field to train on, as a jq filter', '.text')
    .option('--workers <count>', 'number of worker threads; by default, the number of cores', wholeNumber)
    .addHelpText('after', '\nExample:\n  penstock train-tokenizer corpus.jsonl --vocab-size 50304 -o tokenizer.json\n')
  addOutputOptions(addFaultOptions(command)).action(async (source: string, flags: TrainTokenizerFlags) => {
    const { definitionOf } = await import('../../pipelines/definition.js')
    const { runDefinition } = await import('../actions/run-definition.js')
    const faults = faultOptionsOf(flags)
    const training = {
      path: flags.output,
      vocab_size: flags.vocabSize,
      min_frequency: flags.minFrequency,
      special_tokens: flags.specialTokens,
      if_exists: flags.ifExists,
      ...(flags.workers === undefined ? {} : { workers: flags.workers }),
      ...faults,
    }
    const stages = [
      { 'read-file': { path: source } },
      { 'read-lines': faults },
      { 'validate-json': faults },
      { 'extract-text': { field: flags.field, ...faults } },
      { 'train-tokenizer': training },
    ]
    await runDefinition(definitionOf({ name: 'train-tokenizer', stages }, 'penstock train-tokenizer'), flags)
  })
}
