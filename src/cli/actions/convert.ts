/** A checkpoint -> a Hugging Face folder, with its tokenizer, and back. */
import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { PenstockError } from '../../errors.js'
import { copyOver } from '../../files/durable.js'
import type { TokenizerReference } from '../../formats/batches.js'
import { saveCheckpoint } from '../../training/checkpoint.js'
import { readHuggingFace, writeHuggingFace } from '../../training/hugging-face.js'
import { type ModelOptions, parseTraining, resolveModel } from '../../training/options.js'
import { readWeights, writeStateFiles } from '../../training/tfjs/state-files.js'
import type { NamedTensor } from '../../training/weights.js'
import { tokenizerReference } from '../../workers/tokenizer/load-tokenizer.js'
import { askTokenizer } from '../../workers/tokenizer/tokenizer-thread.js'
import { findCheckpoint } from './generate.js'

const BESIDE_TOKENIZER = ['tokenizer_config.json', 'special_tokens_map.json', 'generation_config.json']

/**
 * @param tokenizerPath the tokenizer to put in; that of the checkpoint when absent, if it is still the same
 * @returns a line that says what was written
 */
export async function convertCheckpoint(from: string, folder: string, tokenizerPath?: string): Promise<string> {
  const { path, state } = await findCheckpoint(from)
  const weights = await readWeights(join(path, 'model.safetensors'))
  const tokenizer =
    tokenizerPath === undefined ? await tokenizerOf(state.tokenizer) : (await loadable(tokenizerPath)).path
  const layout = await writeHuggingFace(folder, { model: resolveModel(state.model), weights })
  if (tokenizer !== undefined) await copyTokenizer(tokenizer, folder)
  return `${folder}: ${layout === 'llama' ? 'Llama' : 'GPT-2'}, after step ${state.step} of ${path}`
}

/** The file that a checkpoint names, if it is still the one that was trained with. @throws FILE_UNREADABLE */
async function tokenizerOf(reference: TokenizerReference | undefined): Promise<string | undefined> {
  if (reference === undefined) return undefined
  const found = await tokenizerReference(reference.path).catch((error: PenstockError) => {
    if (error.code === 'FILE_UNREADABLE') throw error
    return undefined
  })
  return found?.sha256 === reference.sha256 ? found.path : undefined
}

/** A tokenizer that the user named. @throws what opening it throws */
function loadable(path: string): Promise<TokenizerReference> {
  return askTokenizer(path, ({ path, sha256 }) => ({ path, sha256 }))
}

async function copyTokenizer(file: string, folder: string): Promise<void> {
  await copyOver(file, join(folder, basename(file)))
  for (const name of BESIDE_TOKENIZER) {
    const beside = join(dirname(file), name)
    if (existsSync(beside)) await copyOver(beside, join(folder, name))
  }
}

/** The checkpoint stands at step 0 of no data: a model to use. @returns a line that says what was written */
export async function convertBack(from: string, folder: string, tokenizerPath: string | undefined): Promise<string> {
  const { model, weights } = await readHuggingFace(from)
  const saveState = (into: string) =>
    writeStateFiles(into, { stepsTaken: 0, weights, means: zerosLike(weights), variances: zerosLike(weights) })
  const state = await untrainedState(model, tokenizerPath)
  const path = await saveCheckpoint(folder, null, { isPrimary: true, saveState }, { ...state, model })
  return `${path}: ${weights.size} weights`
}

/** What a checkpoint says that stands at step 0 of no data. */
export async function untrainedState(model: ModelOptions, tokenizerPath: string | undefined) {
  const tokenizer = tokenizerPath === undefined ? undefined : await loadable(tokenizerPath)
  const cursor = { version: 1, globalSamples: 0, seed: 0, sampleCount: 0, dataBytes: 0, tokenBytes: 0 } as const
  return {
    step: 0,
    totalSteps: 0,
    consumedTokens: 0,
    cursor: { ...cursor, sequenceLength: model.sequence_length },
    training: parseTraining({ model }),
    ...(tokenizer && { tokenizer }),
  }
}

function zerosLike(weights: ReadonlyMap<string, NamedTensor>): Map<string, NamedTensor> {
  return new Map(
    [...weights].map(([name, { shape, values }]) => [name, { shape, values: new Float32Array(values.length) }]),
  )
}
