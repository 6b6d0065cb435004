#!/usr/bin/env node
/**
 * The command line: reads arguments, calls the library, prints, exits. Each command loads its code only when it runs, so
 * that `--help` answers at once. Exit codes: 0 done, 1 failed, 2 wrong configuration or arguments, 130 and 143 stopped.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addBenchmarkCommand } from './benchmark.js'
import { addChunkCommand } from './chunk.js'
import { addCompletionCommand } from './completion.js'
import { addConvertCommand } from './convert.js'
import { addConvertReferenceCommand } from './convert-reference.js'
import { addDataCommand } from './data.js'
import { addDoctorCommand } from './doctor.js'
import { addExplainCommand } from './explain.js'
import { addFilterCommand } from './filter.js'
import { addGenerateCommand } from './generate.js'
import { addGenerateTextCommand } from './generate-text.js'
import { addGraphCommand } from './graph.js'
import { addIndexCommand } from './index-command.js'
import { addInitCommand } from './init.js'
import { addInspectCommand } from './inspect.js'
import { addMergeCommand } from './merge.js'
import { addPackCommand } from './pack.js'
import { addPlanCommand } from './plan.js'
import { addProfileCommand } from './profile.js'
import { addQuickstartCommand } from './quickstart.js'
import { addRepairCommand } from './repair.js'
import { addRunCommand } from './run.js'
import { addSchemaCommand } from './schema.js'
import { addSetupCommand } from './setup.js'
import { addShuffleCommand } from './shuffle.js'
import { addSinksCommand } from './sinks.js'
import { addStagesCommand } from './stages.js'
import { exitCodeOf, printError } from './terminal.js'
import { addTrainCommand } from './train.js'
import { addTrainTokenizerCommand } from './train-tokenizer.js'
import { addVerifyCommand } from './verify.js'
import { addViewCommand } from './view.js'
import { addWarmstartCommand } from './warmstart.js'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const program = new Command('penstock')
  .description('From JSONL to a trained GPT, in back-pressured streams.')
  .version(version)
  .showHelpAfterError('(penstock <command> --help shows the options)')
  .configureHelp({ sortSubcommands: false })
  .exitOverride()

/** By their names, in the order of the help. */
const commands: Readonly<Record<string, (program: Command) => void>> = {
  quickstart: addQuickstartCommand,
  init: addInitCommand,
  run: addRunCommand,
  index: addIndexCommand,
  pack: addPackCommand,
  merge: addMergeCommand,
  shuffle: addShuffleCommand,
  chunk: addChunkCommand,
  filter: addFilterCommand,
  'train-tokenizer': addTrainTokenizerCommand,
  train: addTrainCommand,
  generate: addGenerateCommand,
  convert: addConvertCommand,
  inspect: addInspectCommand,
  verify: addVerifyCommand,
  repair: addRepairCommand,
  view: addViewCommand,
  plan: addPlanCommand,
  graph: addGraphCommand,
  stages: addStagesCommand,
  sinks: addSinksCommand,
  doctor: addDoctorCommand,
  completion: addCompletionCommand,
  warmstart: addWarmstartCommand,
  data: addDataCommand,
  generate_text: addGenerateTextCommand,
  convert_pytorch_to_hf_checkpoint: addConvertReferenceCommand,
  benchmark: addBenchmarkCommand,
  explain: addExplainCommand,
  profile: addProfileCommand,
  schema: addSchemaCommand,
  setup: addSetupCommand,
}
const asked = process.argv[2] ?? ''
// One that is named need not wait until all are described. The completion describes them all.
const isNamed = Object.hasOwn(commands, asked) && asked !== 'completion'
for (const add of isNamed ? [commands[asked]!] : Object.values(commands)) add(program)
for (const command of program.commands) command.exitOverride().showHelpAfterError()

// Who reads the output may have enough of it, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    printError(error)
    process.exitCode = exitCodeOf(error)
  }
}
