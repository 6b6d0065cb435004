/**
 * An engine's state as two safetensors files: `model.safetensors` contains only the weights, so that any program can read
 * it; `optimizer.safetensors` contains AdamW's moments as `exp_avg.NAME` and `exp_avg_sq.NAME` (torch's names) and the
 * number of steps taken.
 */
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PenstockError, toPenstockError } from '../../errors.js'
import { decodeSafetensors, encodeSafetensors, type Tensor } from '../../formats/safetensors.js'
import type { NamedTensor } from '../weights.js'
import type { LearnerState } from './learner.js'

/** Everything that a resumed run needs from the engine. */
export interface EngineState extends LearnerState {
  readonly stepsTaken: number
}

export const modelFile = 'model.safetensors'
const optimizerFile = 'optimizer.safetensors'
/** Folder of the moments in a checkpoint of the torch engine. */
const torchMoments = 'optimizer'
const meanPrefix = 'exp_avg.'
const variancePrefix = 'exp_avg_sq.'

/** Writes the files into an existing folder. @returns their names */
export async function writeStateFiles(folder: string, state: EngineState): Promise<readonly string[]> {
  const moments = [...toTensors(state.means, meanPrefix), ...toTensors(state.variances, variancePrefix)]
  await writeFile(join(folder, modelFile), encodeSafetensors(toTensors(state.weights, ''), { format: 'pt' }))
  await writeFile(join(folder, optimizerFile), encodeSafetensors(moments, { steps_taken: String(state.stepsTaken) }))
  return [modelFile, optimizerFile]
}

/** @throws CHECKPOINT_INVALID */
export async function readStateFiles(folder: string): Promise<EngineState> {
  const model = await readTensors(join(folder, modelFile))
  if (!existsSync(join(folder, optimizerFile)) && existsSync(join(folder, torchMoments))) {
    const message = 'the optimizer state was written by the torch engine: resume with engine torch'
    throw new PenstockError('CHECKPOINT_INVALID', message, { file: join(folder, torchMoments) })
  }
  const optimizer = await readTensors(join(folder, optimizerFile))
  const stepsTaken = Number(optimizer.metadata.steps_taken)
  if (!Number.isSafeInteger(stepsTaken) || stepsTaken < 0) {
    throw new PenstockError('CHECKPOINT_INVALID', 'the optimizer state has no valid steps_taken', {
      file: join(folder, optimizerFile),
    })
  }
  return {
    stepsTaken,
    weights: model.tensors,
    means: withPrefix(optimizer.tensors, meanPrefix),
    variances: withPrefix(optimizer.tensors, variancePrefix),
  }
}

/** Weights of a checkpoint, or of a model written by another program. @throws CHECKPOINT_INVALID */
export async function readWeights(file: string): Promise<ReadonlyMap<string, NamedTensor>> {
  return (await readTensors(file)).tensors
}

function toTensors(tensors: ReadonlyMap<string, NamedTensor>, prefix: string): Tensor[] {
  return [...tensors].map(([name, { shape, values }]) => {
    return { name: prefix + name, dtype: 'F32', shape, data: values }
  })
}

function withPrefix(tensors: ReadonlyMap<string, NamedTensor>, prefix: string): Map<string, NamedTensor> {
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
  try {
    const { tensors, metadata } = decodeSafetensors(new Uint8Array(await readFile(file)), { file })
    const entries = [...tensors].map(([name, { dtype, shape, data }]): [string, NamedTensor] => {
      if (dtype !== 'F32') {
        throw new PenstockError('CHECKPOINT_INVALID', `tensor ${name} is ${dtype}; only F32 is supported`, { file })
      }
      return [name, { shape, values: new Float32Array(data.slice().buffer) }]
    })
    return { tensors: new Map(entries), metadata }
  } catch (error) {
    const { message } = toPenstockError(error, 'CHECKPOINT_INVALID')
    throw new PenstockError('CHECKPOINT_INVALID', message, { file }, error)
  }
}
