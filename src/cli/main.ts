#!/usr/bin/env node
/**
 * The command line: parses arguments, calls the library, prints and exits. Each command loads its code only when it
 * runs, which keeps `--help` fast. Exit codes: 0 success, 1 failure, 2 invalid configuration or arguments, 128 + the signal's
 * number if stopped by a signal.
 */
import './output/signals.js'
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { PenstockError, toPenstockError } from '../errors.js'
import { addLaunchCommand } from './commands/cluster/launch.js'
import { addShardsCommand } from './commands/cluster/shards.js'
import { addCompletionCommand } from './commands/completion.js'
import { addConvertCommand } from './commands/convert.js'
import { addDoctorCommand } from './commands/doctor.js'
import { addEvaluateCommand } from './commands/evaluate.js'
import { addGenerateCommand } from './commands/generate.js'
import { addGraphCommand } from './commands/graph.js'
import { addIndexCommand } from './commands/index-command.js'
import { addInitCommand } from './commands/init.js'
import { addInspectCommand } from './commands/inspect.js'
import { addPackCommand } from './commands/pack.js'
import { addChunkCommand } from './commands/packed-files/chunk.js'
import { addFilterCommand } from './commands/packed-files/filter.js'
import { addMergeCommand } from './commands/packed-files/merge.js'
import { addPackSamplesCommand } from './commands/packed-files/pack-samples.js'
import { addShuffleCommand } from './commands/packed-files/shuffle.js'
import { addPlanCommand } from './commands/plan.js'
import { addQuickstartCommand } from './commands/quickstart.js'
import { addRepairCommand } from './commands/repair.js'
import { addRunCommand } from './commands/run.js'
import { addSchemaCommand } from './commands/schema.js'
import { addSetupCommand } from './commands/setup.js'
import { addSinksCommand } from './commands/sinks.js'
import { addStagesCommand } from './commands/stages.js'
import { addTrainCommand } from './commands/train.js'
import { addTrainTokenizerCommand } from './commands/train-tokenizer.js'
import { addVerifyCommand } from './commands/verify.js'
import { addViewCommand } from './commands/view.js'
import { addBenchmarkCommand } from './modalities/benchmark.js'
import { addConvertModalitiesCommand } from './modalities/convert-checkpoint.js'
import { addDataCommand } from './modalities/data.js'
import { addExplainCommand } from './modalities/explain.js'
import { addGenerateTextCommand } from './modalities/generate-text.js'
import { addProfileCommand } from './modalities/profile.js'
import { addWarmstartCommand } from './modalities/warmstart.js'
import { isJsonRequested, printError } from './output/notices.js'
import { handleWriteErrors } from './output/print.js'
import { exitCodeOf } from './output/terminal.js'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const program = new Command('penstock')
  .description('From JSONL to a trained GPT, as streams with backpressure.')
  .version(version)
  .showHelpAfterError(isJsonRequested() ? false : '(run penstock --help for the commands)')
  .configureOutput({
    outputError: text => printError(new PenstockError('ARGUMENT_INVALID', text.replace(/^error: /, '').trimEnd())),
  })
  .configureHelp({ sortSubcommands: false })
  .exitOverride()

/** Commands by name, in the order of the help text. */
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
  'pack-samples': addPackSamplesCommand,
  shards: addShardsCommand,
  launch: addLaunchCommand,
  'train-tokenizer': addTrainTokenizerCommand,
  train: addTrainCommand,
  evaluate: addEvaluateCommand,
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
  convert_pytorch_to_hf_checkpoint: addConvertModalitiesCommand,
  benchmark: addBenchmarkCommand,
  explain: addExplainCommand,
  profile: addProfileCommand,
  schema: addSchemaCommand,
  setup: addSetupCommand,
}
const requested = process.argv[2] ?? ''
// Register only the requested command, for a faster start. The completion script needs all of them.
const isNamed = Object.hasOwn(commands, requested) && requested !== 'completion'
for (const add of isNamed ? [commands[requested]!] : Object.values(commands)) add(program)
for (const command of program.commands) showHelpHint(command, 'penstock')

/** Usage errors name the command that shows the help, instead of printing all of it. */
function showHelpHint(command: Command, parents: string): void {
  const name = `${parents} ${command.name()}`
  command.showHelpAfterError(isJsonRequested() ? false : `(run ${name} --help for the options)`)
  for (const child of command.commands) showHelpHint(child, name)
}

handleWriteErrors(error => {
  if (error.code !== 'EPIPE') printError(toPenstockError(error, 'FILE_UNWRITABLE', { file: 'standard output' }))
  process.exit(error.code === 'EPIPE' ? 0 : 1)
})

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    printError(error)
    process.exitCode = exitCodeOf(error)
  }
}
