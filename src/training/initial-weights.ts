/** Weights that a new run starts from: those of a checkpoint or of a Hugging Face folder, with a fresh optimizer. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PenstockError } from '../errors.js'
import type { TokenizerReference } from '../formats/batches.js'
import { openCheckpoint, openLatestCheckpoint, stateFile } from './checkpoint.js'
import { requireSameModel, requireSameTokenizer } from './compatibility.js'
import type { Engine } from './engine.js'
import { openHuggingFace } from './hugging-face/hugging-face.js'
import type { ModelOptions } from './options.js'
import { modelFile, writeTensors } from './tensor-files.js'

/**
 * @param path a checkpoint, a folder of checkpoints (the newest is used), or a Hugging Face folder
 * @throws FILE_MISSING, CHECKPOINT_INVALID, UNSUPPORTED, WORLD_MISMATCH for another model, TOKENIZER_MISMATCH
 */
export async function loadInitialWeights(
  engine: Pick<Engine, 'loadWeights'>,
  path: string,
  model: ModelOptions,
  tokenizer: TokenizerReference | undefined,
): Promise<void> {
  if (existsSync(join(path, 'config.json'))) return loadHuggingFace(engine, path, model)
  const damaged: PenstockError[] = []
  const checkpoint = existsSync(join(path, stateFile))
    ? await openCheckpoint(path)
    : await openLatestCheckpoint(path, error => damaged.push(error))
  if (checkpoint === undefined) {
    throw new PenstockError('FILE_MISSING', 'no checkpoint and no Hugging Face model found', {
      file: path,
      path: 'init_from',
    })
  }
  requireSameModel(model, checkpoint, isFreeLength(model))
  requireSameTokenizer(tokenizer, checkpoint)
  await engine.loadWeights(checkpoint.path)
}

async function loadHuggingFace(engine: Pick<Engine, 'loadWeights'>, path: string, model: ModelOptions): Promise<void> {
  const { model: found, weights, close } = await openHuggingFace(path)
  const folder = await mkdtemp(join(tmpdir(), 'penstock-weights-'))
  try {
    requireSameModel(model, { path, state: { model: found } }, isFreeLength(model))
    await writeTensors(join(folder, modelFile), weights, { format: 'pt' })
    await engine.loadWeights(folder)
  } finally {
    await close()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Only learned positions fix the length of the context. */
const isFreeLength = ({ position }: ModelOptions): boolean => position !== 'learned'
