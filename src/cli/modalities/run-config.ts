/**
 * Runs a training configuration of Modalities with Penstock's stages, using the same plan, folders and names. Each
 * checkpoint gets a symbolic link with its Modalities name, and `last_checkpoint_info.json` names the newest, because a
 * warmstart configuration parses its step and token counts from that name.
 */
import { existsSync, lstatSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { changingSync, makeFolder } from '../../files/durable.js'
import { copyOver, replaceFileSync, writeOver } from '../../files/replace-file.js'
import { withMaskIds } from '../../modalities/mask-tokens.js'
import { checkpointFileName, checkpointFolderName, LAST_CHECKPOINT_INFO } from '../../modalities/plans/names.js'
import { type OpenedTraining, openTrainingPlan } from '../../modalities/plans/open-plan.js'
import { noticeLine, resolvedText } from '../../modalities/plans/read-config.js'
import { type ModalitiesTrainingPlan, requireSupported } from '../../modalities/plans/training-plan.js'
import {
  onTorch,
  type PenstockTraining,
  toPenstockMonitoring,
  toPenstockTraining,
} from '../../modalities/to-penstock.js'
import { definitionOf } from '../../pipelines/definition.js'
import type { TrainingEvent } from '../../training/training-events.js'
import { printCheck } from '../actions/check-definition.js'
import type { RunFlags } from '../actions/run-definition.js'
import { runTraining } from '../actions/train.js'
import { printStatus } from '../output/print.js'
import { rejectUnused } from '../output/unused-flags.js'
import { prepareWarmstart, requireCheckpoint } from './warmstart-checkpoint.js'

export interface ModalitiesRunFlags extends RunFlags {
  readonly config_file_path: string
  /** Validate the configuration without running it. */
  readonly check?: boolean
  readonly experiments_root_path: string
  readonly experiment_id?: string
  readonly last_checkpoint_info_file_path?: string
  readonly engine?: 'tfjs' | 'torch'
  readonly nproc?: number
  readonly device?: 'auto' | 'cpu' | 'cuda'
  readonly python?: string
}

/** @throws CONFIG_INVALID, UNSUPPORTED before anything is written; then errors from training */
export async function runModalities(flags: ModalitiesRunFlags): Promise<void> {
  rejectTorchrun()
  await requireFolder(flags.experiments_root_path)
  const opened = await openTrainingPlan(flags.config_file_path, {
    experimentsRootPath: flags.experiments_root_path,
    experimentId: flags.experiment_id,
    worldSize: flags.nproc,
    lastCheckpointInfoPath: flags.last_checkpoint_info_file_path,
  })
  const { plan } = opened
  requireSupported(plan)
  if (flags.last_checkpoint_info_file_path !== undefined) requireWarmstart(plan, flags.config_file_path)
  const { shuffleSamples, feedTrainer, differences } = selectEngine(
    await withMaskIds(toPenstockTraining(plan), plan),
    flags,
  )
  if (!flags.quiet) printNotices(plan, flags.config_file_path, differences)
  const id = plan.settings.experiment_id
  const folder = join(plan.settings.paths.experiments_root_path, id)
  const checkpoints = checkpointsOf(plan)
  const { checkpoint } = feedTrainer
  const training = {
    ...feedTrainer,
    ...(feedTrainer.engine === 'torch' && flags.device !== 'cpu' ? {} : fitBatchToMemory(plan)),
    ...(checkpoint === undefined ? {} : { checkpoint: { ...checkpoint, folder: checkpoints } }),
  }
  const samples = { ...shuffleSamples, batch_size: training.batch_size }
  const definition = definitionOf(
    {
      name: id,
      monitoring: toPenstockMonitoring(plan, folder),
      pipelines: { train: [{ 'shuffle-samples': samples }, { 'feed-trainer': training }] },
    },
    flags.config_file_path,
  )
  if (flags.check) {
    if (plan.warmstartFrom !== null) await requireCheckpoint(plan.warmstartFrom)
    return printCheck(flags.config_file_path, definition)
  }
  await copyConfiguration(folder, opened)
  if (plan.warmstartFrom !== null) await prepareWarmstart(plan, { shuffleSamples, feedTrainer }, checkpoints)
  await runTraining(definition, flags, (_stage, event) => nameCheckpoint(plan, event as TrainingEvent))
}

/** Modalities is started once per rank by torchrun; in Penstock one process starts all ranks. */
function rejectTorchrun(): void {
  const { WORLD_SIZE, LOCAL_RANK } = process.env
  if (LOCAL_RANK === undefined || Number(WORLD_SIZE ?? 1) < 2) return
  const message = `torchrun started ${WORLD_SIZE} processes: run penstock once instead, with --engine torch --nproc ${WORLD_SIZE}`
  throw new PenstockError('ARGUMENT_INVALID', message)
}

/** @throws CONFIG_INVALID if the configuration loads no checkpoint, so that a warmstart would train a new model */
function requireWarmstart({ warmstartFrom }: ModalitiesTrainingPlan, file: string): void {
  if (warmstartFrom !== null) return
  const message =
    'the configuration loads no checkpoint, so last_checkpoint_info.json is not used and a new model would be trained: ' +
    'load the checkpoint in app_state, or use penstock run'
  throw new PenstockError('CONFIG_INVALID', message, { file, path: 'app_state' })
}

async function requireFolder(path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined))?.isDirectory()) return
  throw new PenstockError('FILE_MISSING', 'folder not found (experiments_root_path)', { file: path })
}

function printNotices(plan: ModalitiesTrainingPlan, file: string, differences: readonly string[]): void {
  const lines = [
    ...plan.notices.map(notice => noticeLine(file, notice)),
    ...differences.map(difference => `${file}: differs: ${difference}`),
  ]
  for (const line of lines) printStatus(`${line}\n`)
}

/** Copies the configuration to the experiment folder, and writes it there with all variables resolved. */
async function copyConfiguration(folder: string, { text, options }: OpenedTraining): Promise<void> {
  await makeFolder(folder)
  const copy = join(folder, basename(options.configFilePath))
  if (resolve(copy) !== resolve(options.configFilePath)) await copyOver(options.configFilePath, copy)
  await writeOver(`${copy.replace(/\.[^.]*$/, '')}.yaml.resolved`, resolvedText(text, options))
}

/** A checkpoint folder per experiment; Modalities puts all experiments in one folder and distinguishes them by name. */
function checkpointsOf({ checkpoint, settings }: ModalitiesTrainingPlan): string {
  const { experiment_id: id } = settings
  return checkpoint.folder.split(/[\\/]/).includes(id) ? checkpoint.folder : join(checkpoint.folder, id)
}

/** Names a new checkpoint, and the one a run resumed from: a killed run may not have named it. */
function nameCheckpoint(plan: ModalitiesTrainingPlan, event: TrainingEvent): void {
  if (event.kind !== 'checkpoint' && event.kind !== 'resumed') return
  const numbers = {
    experimentId: plan.settings.experiment_id,
    seenSteps: event.step,
    seenTokens: event.step * plan.tokensPerStep,
    targetSteps: plan.settings.training_target.num_target_steps,
    targetTokens: plan.settings.training_target.num_target_tokens,
  }
  const names =
    plan.checkpoint.format === 'dcp'
      ? { checkpoint_folder_path: checkpointFolderName(numbers) }
      : {
          model_checkpoint_path: checkpointFileName('model', numbers),
          optimizer_checkpoint_path: checkpointFileName('optimizer', numbers),
        }
  const { folder } = plan.checkpoint
  const paths = Object.entries(names).map(([key, name]) => [key, resolve(folder, name)] as const)
  for (const [, link] of paths) {
    changingSync(link, () => {
      // Anything but a link is not ours: creating the link then fails and names it.
      if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink()) rmSync(link)
      symlinkSync(relative(dirname(link), event.path), link, 'junction')
    })
  }
  changingSync(folder, () => removeDangling(folder, `eid_${numbers.experimentId}-`))
  const info = join(folder, LAST_CHECKPOINT_INFO)
  changingSync(info, () => {
    replaceFileSync(info, JSON.stringify(Object.fromEntries(paths)))
  })
}

/** Removes links to checkpoints that have been deleted. */
function removeDangling(folder: string, prefix: string): void {
  for (const name of readdirSync(folder)) {
    if (name.startsWith(prefix) && !existsSync(join(folder, name))) rmSync(join(folder, name), { force: true })
  }
}

/** Memory limit for the logits in a process that computes without a GPU. */
const MAX_LOGITS_BYTES = 256 << 20

/**
 * Splits a micro-batch sized for a GPU into smaller ones if its logits exceed the memory limit. Accumulating more, smaller
 * micro-batches gives the same step, because every target has the same weight.
 */
function fitBatchToMemory(plan: ModalitiesTrainingPlan) {
  const { local_train_micro_batch_size: given, gradient_accumulation_steps: steps } = plan.settings.step_profile
  const maxRows = Math.floor(MAX_LOGITS_BYTES / (4 * plan.model.sequence_length * plan.model.vocab_size))
  let rows = Math.min(given, Math.max(1, maxRows))
  while (given % rows !== 0) rows--
  return { batch_size: rows, accumulation_steps: steps * plan.train.worldSize * (given / rows) }
}

function selectEngine(
  training: PenstockTraining,
  { engine, nproc, device, python }: ModalitiesRunFlags,
): PenstockTraining {
  if (engine !== 'torch') {
    rejectUnused({ device, python }, ['device', 'python'], 'without --engine torch')
    if (nproc === undefined || nproc === 1) return training
    throw new PenstockError('ARGUMENT_INVALID', '--nproc needs --engine torch')
  }
  const torch = onTorch(training, device)
  if (python === undefined) return torch
  return { ...torch, feedTrainer: { ...torch.feedTrainer, torch: { ...torch.feedTrainer.torch, python } } }
}
