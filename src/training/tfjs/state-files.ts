/**
 * An engine's state as two safetensors files: `model.safetensors` contains only the weights, so that any program can read
 * it; `optimizer.safetensors` contains AdamW's moments as `exp_avg.NAME` and `exp_avg_sq.NAME` (torch's names) and the
 * number of steps taken.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { PenstockError } from '../../errors.js'
import { type LazyTensor, lazyTensor, modelFile, TensorReader, valuesOf, writeTensors } from '../tensor-files.js'
import type { NamedTensor } from '../weights.js'
import type { LearnerState } from './learner.js'

/** Everything that a resumed run needs from the engine. */
export interface EngineState extends LearnerState {
  readonly stepsTaken: number
}

const optimizerFile = 'optimizer.safetensors'
/** Folder of the moments in a checkpoint of the torch engine. */
const torchMoments = 'optimizer'
const meanPrefix = 'exp_avg.'
const variancePrefix = 'exp_avg_sq.'

/** Writes the files into an existing folder. @returns their names */
export async function writeStateFiles(folder: string, state: EngineState): Promise<readonly string[]> {
  const moments = new Map([...withPrefix(state.means, meanPrefix), ...withPrefix(state.variances, variancePrefix)])
  await writeTensors(join(folder, modelFile), lazyTensors(state.weights), { format: 'pt' })
  await writeTensors(join(folder, optimizerFile), lazyTensors(moments), { steps_taken: String(state.stepsTaken) })
  return [modelFile, optimizerFile]
}

/** A checkpoint without optimizer state, such as a converted model, starts with moments of zero. @throws CHECKPOINT_INVALID */
export async function readStateFiles(folder: string): Promise<EngineState> {
  const weights = await readWeights(join(folder, modelFile))
  const file = join(folder, optimizerFile)
  if (!existsSync(file)) {
    if (!existsSync(join(folder, torchMoments))) {
      return { stepsTaken: 0, weights, means: zerosLike(weights), variances: zerosLike(weights) }
    }
    const message = 'the optimizer state was written by the torch engine: resume with engine torch'
    throw new PenstockError('CHECKPOINT_INVALID', message, { file: join(folder, torchMoments) })
  }
  const { tensors, metadata } = await readTensors(file)
  const stepsTaken = Number(metadata.steps_taken)
  if (!Number.isSafeInteger(stepsTaken) || stepsTaken < 0) {
    throw new PenstockError('CHECKPOINT_INVALID', 'the optimizer state has no valid steps_taken', { file })
  }
  const means = withoutPrefix(tensors, meanPrefix)
  return { stepsTaken, weights, means, variances: withoutPrefix(tensors, variancePrefix) }
}

/** Weights of a checkpoint, or of a model written by another program. @throws CHECKPOINT_INVALID */
export async function readWeights(file: string): Promise<ReadonlyMap<string, NamedTensor>> {
  return (await readTensors(file)).tensors
}

export function zerosLike(tensors: ReadonlyMap<string, NamedTensor>): Map<string, NamedTensor> {
  return new Map(
    [...tensors].map(([name, { shape, values }]) => [name, { shape, values: new Float32Array(values.length) }]),
  )
}

function lazyTensors(tensors: ReadonlyMap<string, NamedTensor>): Map<string, LazyTensor> {
  return new Map([...tensors].map(([name, tensor]) => [name, lazyTensor(tensor)]))
}

function withPrefix(tensors: ReadonlyMap<string, NamedTensor>, prefix: string): [string, NamedTensor][] {
  return [...tensors].map(([name, tensor]) => [prefix + name, tensor])
}

function withoutPrefix(tensors: ReadonlyMap<string, NamedTensor>, prefix: string): Map<string, NamedTensor> {
  return new Map(
    [...tensors]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  )
}

async function readTensors(file: string): Promise<{
  tensors: Map<string, NamedTensor>
  metadata: Readonly<Record<string, string>>
}> {
  const reader = await TensorReader.open([file])
  try {
    const tensors = new Map<string, NamedTensor>()
    for (const [name, tensor] of reader.tensors) {
      tensors.set(name, { shape: tensor.shape, values: await valuesOf(tensor) })
    }
    return { tensors, metadata: reader.metadata }
  } finally {
    await reader.close()
  }
}
