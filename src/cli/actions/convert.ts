/** Converts a checkpoint and its tokenizer to a Hugging Face folder, and back. */
import { existsSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { copyOver } from '../../files/durable.js'
import type { TokenizerReference } from '../../formats/batches.js'
import { saveCheckpoint } from '../../training/checkpoint.js'
import { readHuggingFace, writeHuggingFace } from '../../training/hugging-face.js'
import { type ModelOptions, parseTraining, resolveModel } from '../../training/options.js'
import { readWeights, writeStateFiles } from '../../training/tfjs/state-files.js'
import type { NamedTensor } from '../../training/weights.js'
import { tokenizerReference } from '../../workers/tokenizer/load-tokenizer.js'
import { askTokenizer } from '../../workers/tokenizer/tokenizer-thread.js'
import { count } from '../output/terminal.js'
import { findCheckpoint } from './generate.js'

const TOKENIZER_COMPANIONS = ['tokenizer_config.json', 'special_tokens_map.json', 'generation_config.json']

/**
 * @param tokenizerPath the tokenizer to include; defaults to that of the checkpoint if its file is unchanged
 * @returns a line that describes the output
 * @throws TOKENIZER_MISMATCH
 */
export async function convertCheckpoint(from: string, folder: string, tokenizerPath?: string): Promise<string> {
  const { path, state } = await findCheckpoint(from)
  const weights = await readWeights(join(path, 'model.safetensors'))
  const tokenizer =
    tokenizerPath === undefined
      ? await tokenizerOf(state.tokenizer)
      : await sameTokenizer(tokenizerPath, state.tokenizer)
  const layout = await writeHuggingFace(folder, { model: resolveModel(state.model), weights })
  if (tokenizer !== undefined) await copyTokenizer(tokenizer, folder)
  return `${folder}: ${layout === 'llama' ? 'Llama' : 'GPT-2'} layout, from ${path} (step ${count(state.step)})`
}

/** The tokenizer that a checkpoint refers to, if its file is unchanged since training. @throws FILE_UNREADABLE */
async function tokenizerOf(reference: TokenizerReference | undefined): Promise<string | undefined> {
  if (reference === undefined) return undefined
  const found = await tokenizerReference(reference.path).catch((error: PenstockError) => {
    if (error.code === 'FILE_UNREADABLE') throw error
    return undefined
  })
  return found?.sha256 === reference.sha256 ? found.path : undefined
}

/** @throws TOKENIZER_MISMATCH if the checkpoint records a different tokenizer, and the errors of loading one */
async function sameTokenizer(tokenizerPath: string, recorded: TokenizerReference | undefined): Promise<string> {
  const { path, sha256 } = await validatedTokenizer(tokenizerPath)
  if (recorded === undefined || recorded.sha256 === sha256) return path
  throw new PenstockError('TOKENIZER_MISMATCH', `the model was trained with a different tokenizer (${recorded.path})`, {
    file: path,
  })
}

/** Loads the tokenizer at a path to validate it. @throws the errors of loading a tokenizer */
function validatedTokenizer(path: string): Promise<TokenizerReference> {
  return askTokenizer(path, ({ path, sha256 }) => ({ path: resolve(path), sha256 }))
}

async function copyTokenizer(file: string, folder: string): Promise<void> {
  await copyOver(file, join(folder, basename(file)))
  for (const name of TOKENIZER_COMPANIONS) {
    const companion = join(dirname(file), name)
    if (existsSync(companion)) await copyOver(companion, join(folder, name))
  }
}

/** Writes a checkpoint at step 0, without training data, to generate from. @returns a line that describes the output */
export async function convertBack(from: string, folder: string, tokenizerPath: string | undefined): Promise<string> {
  const { model, weights } = await readHuggingFace(from)
  const saveState = (into: string) =>
    writeStateFiles(into, { stepsTaken: 0, weights, means: zerosLike(weights), variances: zerosLike(weights) })
  const state = await untrainedState(model, tokenizerPath)
  const path = await saveCheckpoint(folder, null, { isPrimary: true, saveState }, { ...state, model })
  return `${path}: ${count(weights.size)} tensors`
}

/** State of a checkpoint at step 0, without training data. */
export async function untrainedState(model: ModelOptions, tokenizerPath: string | undefined) {
  const tokenizer = tokenizerPath === undefined ? undefined : await validatedTokenizer(tokenizerPath)
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
