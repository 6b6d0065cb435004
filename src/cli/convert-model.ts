/** A checkpoint -> a Hugging Face folder, with its tokenizer, and back. */
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openTokenizer } from '../stages/tokenizer-file.js'
import { saveCheckpoint } from '../training/checkpoint.js'
import { readHuggingFace, writeHuggingFace } from '../training/hugging-face.js'
import { parseTraining, resolveModel } from '../training/options.js'
import { readWeights, writeStateFiles } from '../training/tfjs/state-files.js'
import type { NamedTensor } from '../training/weights.js'
import { findCheckpoint } from './continue-text.js'

/** @returns a line that says what was written */
export async function convertCheckpoint(from: string, folder: string): Promise<string> {
  const { path, state } = await findCheckpoint(from)
  const weights = await readWeights(join(path, 'model.safetensors'))
  const layout = await writeHuggingFace(folder, { model: resolveModel(state.model), weights })
  const tokenizer = state.tokenizer && (await openTokenizer(state.tokenizer.path).catch(() => undefined))
  if (tokenizer !== undefined && tokenizer.sha256 === state.tokenizer?.sha256) {
    await copyFile(tokenizer.path, join(folder, 'tokenizer.json'))
  }
  return `${folder}: ${layout === 'llama' ? 'Llama' : 'GPT-2'}, after step ${state.step} of ${path}`
}

/** The checkpoint stands at step 0 of no data: a model to use. @returns a line that says what was written */
export async function convertBack(from: string, folder: string, tokenizerPath: string | undefined): Promise<string> {
  const { model, weights } = await readHuggingFace(from)
  const tokenizer = tokenizerPath === undefined ? undefined : await openTokenizer(tokenizerPath)
  const saveState = (into: string) =>
    writeStateFiles(into, { stepsTaken: 0, weights, means: zerosLike(weights), variances: zerosLike(weights) })
  const training = parseTraining({ model })
  const cursor = {
    version: 1,
    globalSamples: 0,
    seed: 0,
    sampleCount: 0,
    sequenceLength: model.sequence_length,
  } as const
  const path = await saveCheckpoint(
    folder,
    null,
    { leads: true, saveState },
    {
      step: 0,
      totalSteps: 0,
      consumedTokens: 0,
      cursor: { ...cursor, dataBytes: 0, tokenBytes: 0 },
      model,
      training,
      ...(tokenizer && { tokenizer: { path: tokenizer.path, sha256: tokenizer.sha256 } }),
    },
  )
  return `${path}: ${weights.size} weights`
}

function zerosLike(weights: ReadonlyMap<string, NamedTensor>): Map<string, NamedTensor> {
  return new Map(
    [...weights].map(([name, { shape, values }]) => [name, { shape, values: new Float32Array(values.length) }]),
  )
}
