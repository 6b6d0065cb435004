/** `penstock data`: Modalities' data commands, with the same names and options. */
import { type Command, Option } from 'commander'
import type { JobFlags } from '../actions/document-jobs.js'
import { indexStages } from '../actions/index-jsonl.js'
import type { RunFlags } from '../actions/run-definition.js'
import {
  addFaultOptions,
  dashboardOption,
  type FaultFlags,
  freshOption,
  outputNamedAfter,
} from '../output/shared-options.js'
import { wholeNumber } from '../output/terminal.js'
import type { PackFlags } from './data-packing.js'

interface PolicyFlags extends Omit<JobFlags, 'ifExists'> {
  readonly file_existence_policy: JobFlags['ifExists']
}

export function addDataCommand(program: Command): void {
  const data = program
    .command('data')
    .summary('data commands of Modalities, with the same names')
    .description(
      "Modalities' data commands, with the same names, options and results. docs/from-modalities.md compares them.",
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
    .description('Indexes a JSONL file: the byte offset and length of each line.')
    .argument('<src_path>', 'path of the JSONL file')
    .option('--index_path <file>', 'output path of the index (default: the path of the source with the extension .idx)')
    .addHelpText('after', '\nExample:\n  penstock data create_raw_index corpus.jsonl --index_path corpus.idx\n')
  addPolicy(addFaultOptions(command)).action(
    async (source: string, flags: PolicyFlags & FaultFlags & { index_path?: string }) => {
      const jobFlags = { ...flags, ifExists: flags.file_existence_policy }
      const path = flags.index_path ?? outputNamedAfter(source, '.idx', '--index_path')
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
    .description('Tokenizes an indexed JSONL file into a packed file according to a configuration.')
    .argument('<config_path>', 'packing configuration (YAML)')
    .addHelpText('after', '\nExample:\n  penstock data pack_encoded_data tokenization_config.yaml\n')
  addPolicy(addPackOptions(command)).action(async (config: string, flags: PolicyFlags & PackFlags) => {
    const { packAsConfigured } = await import('./data-packing.js')
    await packAsConfigured(config, { ...flags, ifExists: flags.file_existence_policy })
  })
}

function addMerging(data: Command): void {
  const command = data
    .command('merge_packed_data')
    .description('Merges packed files into one new file.')
    .argument('<paths...>', '.pbin files or folders with .pbin files, followed by the output file')
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
    .requiredOption('--input_data_path <file>', `input file (${ending})`)
    .requiredOption('--output_data_path <file>', 'output file')
    .option('--seed <number>', 'seed of the shuffle; the same seed gives the same order', wholeNumber)
    .addHelpText(
      'after',
      `\nExample:\n  penstock data ${name} --input_data_path a${ending} --output_data_path b${ending} --seed 42\n`,
    )
  if (ending === '.pbin') {
    command.option(
      '--batch_size <count>',
      'accepted for compatibility and ignored: batches are sized in bytes',
      wholeNumber,
      100,
    )
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
    .description(`Takes one chunk of each ${ending} file in a list and shuffles the chunks together.`)
    .requiredOption(
      '--input_file_list_path <file>',
      `text file with one relative path per line; each extension is replaced with ${ending}`,
    )
    .requiredOption('--input_data_root_path <folder>', 'folder that the paths are relative to')
    .requiredOption('--output_chunk_file_path <file>', 'output file')
    .requiredOption('--chunk_id <number>', 'index of the chunk, counted from 0', wholeNumber)
    .requiredOption('--num_chunks <count>', 'total number of chunks', wholeNumber)
    .option('--global_seed <number>', 'seed of the shuffle; the same seed gives the same order', wholeNumber)
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
    .description('Applies a chat template to conversations, splits them into parts, then indexes and packs each part.')
    .requiredOption('--config_file_path <file>', 'instruction-tuning data configuration (YAML)')
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
    'keep documents within max_length: the end-of-document token replaces the last token instead of being appended',
  )
}

function addPolicy(command: Command): Command {
  const policy = new Option('--file_existence_policy <policy>', 'action if the output file exists')
  return addRunOptions(command.addOption(policy.choices(['skip', 'error', 'override']).default('error')))
}

function addRunOptions(command: Command): Command {
  return command
    .option(...freshOption)
    .option('--quiet', 'print errors only')
    .option('--json', 'write progress and results to stderr as JSON lines')
    .option(...dashboardOption)
}
