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
    .summary('learn a byte-level BPE vocabulary')
    .description(
      'Learns a byte-level BPE vocabulary from a field of each line of a JSONL file; writes a standard tokenizer.json.',
    )
    .argument('<source>', 'the JSONL file, also .gz or .zst')
    .option('-o, --output <file>', 'the tokenizer to write', 'tokenizer.json')
    .option('--vocab-size <count>', 'tokens in all', wholeNumber, 32_768)
    .option('--min-frequency <count>', 'pairs that occur less often are not merged', wholeNumber, 0)
    .option('--special-tokens <token...>', 'tokens that get the first ids', ['<|endoftext|>'])
    .option('--field <filter>', 'the field to learn from, as a jq filter', '.text')
    .option('--workers <count>', 'worker threads; the number of cores when absent', wholeNumber)
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
