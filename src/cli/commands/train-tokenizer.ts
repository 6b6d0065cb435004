import type { Command } from 'commander'
import type { PlanFlags } from '../actions/cluster/plan-shards.js'
import type { SourceFlags } from '../actions/read-sources.js'
import type { RunFlags } from '../actions/run-definition.js'
import {
  addFaultOptions,
  addOutputOptions,
  delimiterOption,
  type FaultFlags,
  faultOptionsOf,
  type OutputFlags,
  orderOption,
  shardFolderOption,
  shardsOption,
  textOption,
} from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'

interface TrainTokenizerFlags extends RunFlags, Partial<PlanFlags>, FaultFlags, OutputFlags, SourceFlags {
  readonly output: string
  readonly vocabSize: number
  readonly minFrequency: number
  readonly specialTokens: readonly string[]
  readonly workers?: number
}

export function addTrainTokenizerCommand(program: Command): void {
  const command = program
    .command('train-tokenizer')
    .summary('train a byte-level BPE tokenizer')
    .description(
      'Trains a byte-level BPE tokenizer on one field of each record and writes a Hugging Face tokenizer.json. Sources are those of penstock pack.',
    )
    .argument('<sources...>', 'files, folders, glob patterns, or @FILE with one of these per line')
    .option('-o, --output <file>', 'the tokenizer file', 'tokenizer.json')
    .option('--vocab-size <count>', 'size of the vocabulary, including special tokens', wholeNumber, 32_768)
    .option('--min-frequency <count>', 'do not merge pairs that occur less often than this', wholeNumber, 0)
    .option('--special-tokens <token...>', 'special tokens, which get the first ids', ['<|endoftext|>'])
    .option('--field <filter>', 'the field to train on, as a jq filter', '.text')
    .addOption(orderOption())
    .addOption(textOption())
    .addOption(delimiterOption())
    .option('--workers <count>', 'number of worker threads; by default, the number of cores', wholeNumber)
    .option(...shardsOption)
    .option(...shardFolderOption)
    .addHelpText('after', '\nExample:\n  penstock train-tokenizer corpus.jsonl --vocab-size 50304 -o tokenizer.json\n')
  addOutputOptions(addFaultOptions(command)).action(async (sources: string[], flags: TrainTokenizerFlags) => {
    const { planOrRun } = await import('../actions/cluster/plan-or-run.js')
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
    const { locateSources } = await import('../../files/source-list.js')
    const { textStages } = await import('../actions/read-sources.js')
    await locateSources(sources)
    const stages = [...textStages(sources, flags, faults), { 'train-tokenizer': training }]
    await planOrRun('train-tokenizer', { 'train-tokenizer': stages }, flags)
  })
}
