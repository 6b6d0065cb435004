/** Places the checkpoint of a warmstart, from Penstock or Modalities, in the folder where the trainer finds its newest. */
import { realpath, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { copyFolder, makeFolder } from '../../files/durable.js'
import { findModalitiesCheckpoint, importCheckpoint, modalitiesModel } from '../../modalities/import-checkpoint.js'
import type { ModalitiesTrainingPlan } from '../../modalities/plans/training-plan.js'
import type { PenstockTraining } from '../../modalities/to-penstock.js'
import { sampleCursor } from '../../stages/samples/shuffle-samples.js'
import { openCheckpoint, removePartial } from '../../training/checkpoint.js'
import { parseTraining } from '../../training/options.js'

type TrainingStages = Pick<PenstockTraining, 'shuffleSamples' | 'feedTrainer'>

/** @throws FILE_MISSING, CHECKPOINT_INVALID, WORLD_MISMATCH, UNSUPPORTED; PEER_MISSING without torch for a Modalities checkpoint */
export async function prepareWarmstart(
  plan: ModalitiesTrainingPlan,
  stages: TrainingStages,
  checkpoints: string,
): Promise<void> {
  const from = plan.warmstartFrom!
  const source = await realpath(from).catch(() => from)
  if (await isOwnCheckpoint(source)) await copyOwnCheckpoint(source, checkpoints)
  else await importModalitiesCheckpoint(plan, stages, checkpoints)
}

/** @throws FILE_MISSING without a checkpoint of Penstock or Modalities at the path */
export async function requireCheckpoint(path: string): Promise<void> {
  if ((await isOwnCheckpoint(path)) || (await findModalitiesCheckpoint(path)) !== undefined) return
  throw new PenstockError('FILE_MISSING', 'no checkpoint found', { file: path })
}

const isOwnCheckpoint = (path: string): Promise<boolean> => exists(join(path, 'state.json'))

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined

async function copyOwnCheckpoint(source: string, checkpoints: string): Promise<void> {
  await openCheckpoint(source)
  const target = join(checkpoints, basename(source))
  if (resolve(target) === source || (await exists(target))) return
  await makeFolder(checkpoints)
  await removePartial(target)
  await copyFolder(source, target)
}

/** Converts the checkpoint to Penstock's format, at the step and sample that the configuration names. */
async function importModalitiesCheckpoint(
  { model, settings, warmstartFrom }: ModalitiesTrainingPlan,
  { shuffleSamples, feedTrainer }: TrainingStages,
  checkpoints: string,
): Promise<void> {
  const file = warmstartFrom!
  const found = await findModalitiesCheckpoint(file)
  if (found === undefined) throw new PenstockError('FILE_MISSING', 'no checkpoint found', { file })
  if (found.optimizer === undefined) {
    throw new PenstockError(
      'FILE_MISSING',
      'the optimizer state is missing: expected its file next to the model file',
      { file },
    )
  }
  const { held_out: _, resume: __, sample_texts: ___, tokenizer: ____, ...options } = feedTrainer
  const training = parseTraining(options)
  if (modalitiesModel(model).bias !== training.model.bias) {
    const message = 'norms have biases but linear layers have none: Penstock supports biases in both or in neither'
    throw new PenstockError('UNSUPPORTED', message, { file })
  }
  const { training_progress: progress, training_target: target } = settings
  if (await exists(join(checkpoints, `step-${String(progress.num_seen_steps).padStart(6, '0')}`))) return
  const state = {
    step: progress.num_seen_steps,
    totalSteps: target.num_target_steps,
    consumedTokens: progress.global_num_seen_tokens,
    cursor: await sampleCursor(shuffleSamples, progress.num_seen_samples),
    training,
  }
  await importCheckpoint(found, model, checkpoints, state, training.torch.python)
}
