/**
 * Runs a training configuration of the reference system: the same plan, folder and names, our own stages. Each
 * checkpoint is also known by the reference's name for it, and `last_checkpoint_info.json` names the newest, so that a
 * warmstart configuration finds its numbers where it looks for them.
 */
import { existsSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { changingSync, copyOver, makeFolder, writeOver } from '../../files/durable.js'
import { withMaskIds } from '../../modalities/mask-tokens.js'
import { checkpointFileName, checkpointFolderName, LAST_CHECKPOINT_INFO } from '../../modalities/plans/names.js'
import { type OpenedTraining, openTrainingPlan } from '../../modalities/plans/open-plan.js'
import { noticeLine, resolvedText } from '../../modalities/plans/read-config.js'
import { type ModalitiesTrainingPlan, requireSupported } from '../../modalities/plans/training-plan.js'
import { type NativeTraining, onTorch, toNativeMonitoring, toNativeTraining } from '../../modalities/to-penstock.js'
import { definitionOf } from '../../pipelines/definition.js'
import type { TrainingEvent } from '../../training/training-events.js'
import type { RunFlags } from '../actions/run-definition.js'
import { runTraining } from '../actions/train.js'
import { prepareWarmstart } from './warmstart-checkpoint.js'

export interface ReferenceRunFlags extends RunFlags {
  readonly config_file_path: string
  readonly experiments_root_path: string
  readonly experiment_id?: string
  readonly last_checkpoint_info_file_path?: string
  readonly engine?: 'tfjs' | 'torch'
  readonly nproc?: number
  readonly device?: 'auto' | 'cpu' | 'cuda'
  readonly python?: string
}

/** @throws CONFIG_INVALID, UNSUPPORTED before anything is written, then what training throws */
export async function runReference(flags: ReferenceRunFlags): Promise<void> {
  refuseOtherLauncher()
  await requireFolder(flags.experiments_root_path)
  const opened = await openTrainingPlan(flags.config_file_path, {
    experimentsRootPath: flags.experiments_root_path,
    experimentId: flags.experiment_id,
    worldSize: flags.nproc,
    lastCheckpointInfoPath: flags.last_checkpoint_info_file_path,
  })
  const { plan } = opened
  requireSupported(plan)
  const { shuffleSamples, feedTrainer, differences } = onEngine(await withMaskIds(toNativeTraining(plan), plan), flags)
  if (!flags.quiet) tell(plan, flags.config_file_path, differences)
  const id = plan.settings.experiment_id
  const folder = join(plan.settings.paths.experiments_root_path, id)
  await keepConfiguration(folder, opened)
  const checkpoints = checkpointsOf(plan)
  if (plan.warmstartFrom !== null) await prepareWarmstart(plan, { shuffleSamples, feedTrainer }, checkpoints)
  const { checkpoint } = feedTrainer
  const training = {
    ...feedTrainer,
    ...(feedTrainer.engine === 'torch' && flags.device !== 'cpu' ? {} : fittingBatch(plan)),
    ...(checkpoint === undefined ? {} : { checkpoint: { ...checkpoint, folder: checkpoints } }),
  }
  const samples = { ...shuffleSamples, batch_size: training.batch_size }
  const definition = definitionOf(
    {
      name: id,
      monitoring: toNativeMonitoring(plan, folder),
      pipelines: { train: [{ 'shuffle-samples': samples }, { 'feed-trainer': training }] },
    },
    flags.config_file_path,
  )
  await runTraining(definition, flags, (_stage, event) => nameCheckpoint(plan, event as TrainingEvent))
}

/** The reference is started once for each rank; here one process starts them all. */
function refuseOtherLauncher(): void {
  const { WORLD_SIZE, LOCAL_RANK } = process.env
  if (LOCAL_RANK === undefined || Number(WORLD_SIZE ?? 1) < 2) return
  const message = `started ${WORLD_SIZE} times by torchrun: start it once, with --engine torch --nproc ${WORLD_SIZE}`
  throw new PenstockError('ARGUMENT_INVALID', message)
}

async function requireFolder(path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined))?.isDirectory()) return
  throw new PenstockError('FILE_MISSING', 'no such folder (experiments_root_path)', { file: path })
}

function tell(plan: ModalitiesTrainingPlan, file: string, differences: readonly string[]): void {
  const lines = [
    ...plan.notices.map(notice => noticeLine(file, notice)),
    ...differences.map(difference => `${file}: differs: ${difference}`),
  ]
  for (const line of lines) process.stderr.write(`${line}\n`)
}

/** The copy of the configuration, and what it is with everything filled in. */
async function keepConfiguration(folder: string, { text, options }: OpenedTraining): Promise<void> {
  await makeFolder(folder)
  const copy = join(folder, basename(options.configFilePath))
  if (resolve(copy) !== resolve(options.configFilePath)) await copyOver(options.configFilePath, copy)
  await writeOver(`${copy.replace(/\.[^.]*$/, '')}.yaml.resolved`, resolvedText(text, options))
}

/** A folder for this experiment alone: the reference tells experiments apart by the names in one folder. */
function checkpointsOf({ checkpoint, settings }: ModalitiesTrainingPlan): string {
  const { experiment_id: id } = settings
  return checkpoint.folder.split(/[\\/]/).includes(id) ? checkpoint.folder : join(checkpoint.folder, id)
}

/** The one that a run goes on from too: a run that was killed may not have come to name it. */
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
      rmSync(link, { force: true })
      symlinkSync(relative(dirname(link), event.path), link, 'junction')
    })
  }
  changingSync(folder, () => removeDangling(folder, `eid_${numbers.experimentId}-`))
  const info = join(folder, LAST_CHECKPOINT_INFO)
  changingSync(info, () => {
    writeFileSync(`${info}.part`, JSON.stringify(Object.fromEntries(paths)))
    renameSync(`${info}.part`, info)
  })
}

/** Names of checkpoints that were not kept. */
function removeDangling(folder: string, prefix: string): void {
  for (const name of readdirSync(folder)) {
    if (name.startsWith(prefix) && !existsSync(join(folder, name))) rmSync(join(folder, name), { force: true })
  }
}

/** Logits of this many bytes may exist at once in a process that computes without a GPU. */
const LOGITS_BYTES = 256 << 20

/**
 * A micro batch made for a GPU may need more memory here than there is. More, smaller ones that are accumulated give
 * the same step: every target counts alike.
 */
function fittingBatch(plan: ModalitiesTrainingPlan) {
  const { local_train_micro_batch_size: given, gradient_accumulation_steps: steps } = plan.settings.step_profile
  const maxRows = Math.floor(LOGITS_BYTES / (4 * plan.model.sequence_length * plan.model.vocab_size))
  let rows = Math.min(given, Math.max(1, maxRows))
  while (given % rows !== 0) rows--
  return { batch_size: rows, accumulation_steps: steps * plan.train.worldSize * (given / rows) }
}

function onEngine(native: NativeTraining, { engine, nproc, device, python }: ReferenceRunFlags): NativeTraining {
  if (engine !== 'torch') {
    if (nproc === undefined || nproc === 1) return native
    throw new PenstockError('ARGUMENT_INVALID', '--nproc needs --engine torch')
  }
  const torch = onTorch(native, device)
  if (python === undefined) return torch
  return { ...torch, feedTrainer: { ...torch.feedTrainer, torch: { ...torch.feedTrainer.torch, python } } }
}
