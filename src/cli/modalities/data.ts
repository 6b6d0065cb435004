/** `penstock data`: the commands of the reference system, under their names and options. */
import { type Command, Option } from 'commander'
import type { JobFlags } from '../actions/document-jobs.js'
import { indexStages } from '../actions/index-jsonl.js'
import type { RunFlags } from '../actions/run-definition.js'
import {
  addFaultOptions,
  dashboardOption,
  type FaultFlags,
  freshOption,
  withoutEnding,
} from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'
import type { PackFlags } from './data-packing.js'

interface PolicyFlags extends Omit<JobFlags, 'ifExists'> {
  readonly file_existence_policy: JobFlags['ifExists']
}

export function addDataCommand(program: Command): void {
  const data = program
    .command('data')
    .summary("the reference system's commands for data, under its names")
    .description(
      "Modalities' commands for data: same names, options and results. docs/from-modalities.md compares them.",
    )
    .addHelpText('after', '\nExample:\n  penstock data create_raw_index corpus.jsonl --index_path corpus.idx\n')
  addIndexing(data)
  addPacking(data)
  addMerging(data)
  addShuffling(data, 'shuffle_tokenized_data', '.pbin')
  addShuffling(data, 'shuffle_jsonl_data', '.jsonl')
  addChunking(data, 'create_shuffled_dataset_chunk', '.pbin')
  addChunking(data, 'create_shuffled_jsonl_chunk', '.jsonl')
  addInstructions(data)
}

function addIndexing(data: Command): void {
  const command = data
    .command('create_raw_index')
    .description('Indexes a JSONL file: byte offset and length of each line.')
    .argument('<src_path>', 'the JSONL file')
    .option('--index_path <file>', 'the index; beside the source, with the ending .idx, when absent')
    .addHelpText('after', '\nExample:\n  penstock data create_raw_index corpus.jsonl --index_path corpus.idx\n')
  addPolicy(addFaultOptions(command)).action(
    async (source: string, flags: PolicyFlags & FaultFlags & { index_path?: string }) => {
      const jobFlags = { ...flags, ifExists: flags.file_existence_policy }
      const path = flags.index_path ?? `${withoutEnding(source)}.idx`
      const stages = indexStages(source, path, jobFlags)
      const { withRangesStarted } = await import('../actions/start-ranges.js')
      await withRangesStarted(stages, async () => {
        const { indexFile } = await import('./index-file.js')
        await indexFile(path, stages, jobFlags)
      })
    },
  )
}

function addPacking(data: Command): void {
  const command = data
    .command('pack_encoded_data')
    .description('Tokenizes an indexed JSONL file into a packed file, as a configuration says.')
    .argument('<config_path>', 'the YAML file')
    .addHelpText('after', '\nExample:\n  penstock data pack_encoded_data tokenization_config.yaml\n')
  addPolicy(addPackOptions(command)).action(async (config: string, flags: PolicyFlags & PackFlags) => {
    const { packAsConfigured } = await import('./data-packing.js')
    await packAsConfigured(config, { ...flags, ifExists: flags.file_existence_policy })
  })
}

function addMerging(data: Command): void {
  const command = data
    .command('merge_packed_data')
    .description('Joins packed files into one, which must not exist.')
    .argument('<paths...>', '.pbin files or folders of such, and last the file to write')
    .addHelpText('after', '\nExample:\n  penstock data merge_packed_data part-1.pbin part-2.pbin all.pbin\n')
  addRunOptions(command).action(async (paths: string[], flags: Omit<JobFlags, 'ifExists'>) => {
    const { mergePacked } = await import('../actions/document-jobs.js')
    const { sourcesAndTarget } = await import('./data-packing.js')
    const { sources, target } = sourcesAndTarget(paths)
    await mergePacked(sources, target, { ...flags, ifExists: 'error' })
  })
}

function addShuffling(data: Command, name: string, ending: '.pbin' | '.jsonl'): void {
  const command = data
    .command(name)
    .description(`Shuffles the ${ending === '.pbin' ? 'documents of a packed' : 'lines of a JSONL'} file.`)
    .requiredOption('--input_data_path <file>', `the ${ending} file`)
    .requiredOption('--output_data_path <file>', 'the file to write')
    .option('--seed <number>', 'the same seed gives the same order', wholeNumber)
    .addHelpText(
      'after',
      `\nExample:\n  penstock data ${name} --input_data_path a${ending} --output_data_path b${ending} --seed 42\n`,
    )
  if (ending === '.pbin') {
    command.option('--batch_size <count>', 'has no effect: batches are sized by bytes here', wholeNumber, 100)
  }
  addPolicy(command).action(
    async (flags: PolicyFlags & { input_data_path: string; output_data_path: string; seed?: number }) => {
      const { shuffleFiles } = await import('../actions/document-jobs.js')
      await shuffleFiles(
        [flags.input_data_path],
        flags.output_data_path,
        { kind: ending, seed: flags.seed },
        {
          ...flags,
          ifExists: flags.file_existence_policy,
        },
      )
    },
  )
}

interface ChunkingFlags extends PolicyFlags {
  readonly input_file_list_path: string
  readonly input_data_root_path: string
  readonly output_chunk_file_path: string
  readonly chunk_id: number
  readonly num_chunks: number
  readonly global_seed?: number
}

function addChunking(data: Command, name: string, ending: '.pbin' | '.jsonl'): void {
  const command = data
    .command(name)
    .description(`Takes one chunk of each of a list of ${ending} files and shuffles them together.`)
    .requiredOption('--input_file_list_path <file>', `one relative path a line; its ending is replaced by ${ending}`)
    .requiredOption('--input_data_root_path <folder>', 'where the paths start')
    .requiredOption('--output_chunk_file_path <file>', 'the file to write')
    .requiredOption('--chunk_id <number>', 'which chunk, from 0', wholeNumber)
    .requiredOption('--num_chunks <count>', 'how many chunks there are', wholeNumber)
    .option('--global_seed <number>', 'the same seed gives the same order', wholeNumber)
    .addHelpText(
      'after',
      `\nExample:\n  penstock data ${name} --input_file_list_path list.txt --input_data_root_path data \\\n    --output_chunk_file_path chunk${ending} --chunk_id 0 --num_chunks 8 --global_seed 42\n`,
    )
  addPolicy(command).action(async (flags: ChunkingFlags) => {
    const { shuffleFiles } = await import('../actions/document-jobs.js')
    const { listedFiles } = await import('./data-packing.js')
    const paths = await listedFiles(flags.input_file_list_path, flags.input_data_root_path, ending)
    const chunk = { number: flags.chunk_id, of: flags.num_chunks }
    await shuffleFiles(
      paths,
      flags.output_chunk_file_path,
      { kind: ending, seed: flags.global_seed, chunk },
      {
        ...flags,
        ifExists: flags.file_existence_policy,
      },
    )
  })
}

function addInstructions(data: Command): void {
  const command = data
    .command('prepare_instruction_tuning_data')
    .description('Applies a chat template to conversations, splits them, and indexes and packs each part.')
    .requiredOption('--config_file_path <file>', 'the YAML file')
    .addHelpText(
      'after',
      '\nExample:\n  penstock data prepare_instruction_tuning_data --config_file_path apply_chat_template.yaml\n',
    )
  addRunOptions(addPackOptions(command)).action(async (flags: RunFlags & PackFlags & { config_file_path: string }) => {
    const { prepareInstructions } = await import('./prepare-instructions.js')
    await prepareInstructions(flags.config_file_path, flags)
  })
}

function addPackOptions(command: Command): Command {
  return addFaultOptions(command).option(
    '--keep_length',
    'let the end-of-document token replace the last token of a document as long as max_length, not lengthen it',
  )
}

function addPolicy(command: Command): Command {
  const policy = new Option('--file_existence_policy <policy>', 'what to do when the output exists')
  return addRunOptions(command.addOption(policy.choices(['skip', 'error', 'override']).default('error')))
}

function addRunOptions(command: Command): Command {
  return command
    .option(...freshOption)
    .option('--quiet', 'print nothing but errors')
    .option('--json', 'progress and results as JSON lines on standard error')
    .option(...dashboardOption)
}
