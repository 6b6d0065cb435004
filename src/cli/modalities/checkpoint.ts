/** Opens or converts a checkpoint of Modalities: its model becomes a Penstock checkpoint at step 0 without data. */
import { mkdtemp, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PenstockError } from '../../errors.js'
import {
  findModalitiesCheckpoint,
  importCheckpoint,
  type ModalitiesCheckpoint,
  modalitiesModel,
} from '../../modalities/import-checkpoint.js'
import { openModel } from '../../modalities/plans/open-plan.js'
import type { Gpt2Options } from '../../modalities/plans/training-plan.js'
import { untrainedState } from '../actions/convert.js'

/**
 * @param config path of the configuration that produced the checkpoint
 * @returns a line for the user that names the written checkpoint
 * @throws FILE_MISSING, CONFIG_INVALID, UNSUPPORTED, CHECKPOINT_INVALID, WORLD_MISMATCH; PEER_MISSING without torch
 */
export async function convertModalities(
  from: string,
  folder: string,
  config: string,
  tokenizerPath: string | undefined,
): Promise<string> {
  const found = await findModalitiesCheckpoint(from)
  if (found === undefined) throw new PenstockError('FILE_MISSING', 'no Modalities checkpoint found', { file: from })
  return `${await modelOnly(found, await openModel(config), folder, tokenizerPath)}: the model of ${from}`
}

export interface OpenedCheckpoint {
  readonly path: string
  close(): Promise<void>
}

/**
 * Opens a Penstock checkpoint as it is; converts a Modalities checkpoint into a temporary folder that `close` removes.
 * @throws as `convertModalities`
 */
export async function openAnyCheckpoint(from: string, gpt2: Gpt2Options): Promise<OpenedCheckpoint> {
  const source = await realpath(from).catch(() => from)
  const isPenstock = (await stat(join(source, 'state.json')).catch(() => undefined)) !== undefined
  const found = isPenstock ? undefined : await findModalitiesCheckpoint(source)
  if (found === undefined) return { path: source, close: async () => {} }
  const folder = await mkdtemp(join(tmpdir(), 'penstock-'))
  const close = (): Promise<void> => rm(folder, { recursive: true, force: true })
  try {
    return { path: await modelOnly(found, gpt2, folder, undefined), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function modelOnly(
  { model }: ModalitiesCheckpoint,
  gpt2: Gpt2Options,
  folder: string,
  tokenizerPath: string | undefined,
): Promise<string> {
  const state = await untrainedState(modalitiesModel(gpt2), tokenizerPath)
  return importCheckpoint({ model, optimizer: undefined }, gpt2, folder, state)
}
