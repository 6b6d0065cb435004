/** Small models and learnable data for the tests of training. */
import type { SampleBatch } from '#src/formats/batches'
import { type TrainingBatch, toTrainingBatch } from '#src/training/engine'
import {
  type ModelInput,
  type ModelOptions,
  parseTraining,
  resolveModel,
  type TrainingInput,
} from '#src/training/options'
import { openTfjsEngine, type TfjsEngine } from '#src/training/tfjs/engine'
import { initialPieces, uniformGenerator, type WeightSpec } from '#src/training/weights'

const tinyModel: ModelInput = {
  vocab_size: 12,
  sequence_length: 8,
  layers: 2,
  heads: 2,
  width: 16,
  ffn_width: 24,
  seed: 3,
}

export function tiny(changes: ModelInput = {}): ModelOptions {
  return resolveModel({ ...tinyModel, ...changes })
}

export async function openTiny(
  changes: ModelInput = {},
  training: TrainingInput = {},
  backend: 'wasm' | 'cpu' | 'node' = 'wasm',
): Promise<TfjsEngine> {
  const { optimizer, gradient_clip: gradientClip } = parseTraining(training)
  const threads = typeof training.threads === 'number' ? training.threads : 'calling'
  return openTfjsEngine({ model: tiny(changes), optimizer, gradientClip, backend, threads })
}

/** All initial values of a weight. */
export function initialValues(spec: WeightSpec, seed: number): Float32Array {
  return Float32Array.from(Array.from(initialPieces(spec, seed), piece => [...piece]).flat())
}

/** Samples in which each token is the previous plus 1 or plus 3, from a random start: 0.325 nats per token. */
export function countingBatch(number: number, rows: number, block = 9, vocabSize = 12): SampleBatch {
  const tokens = new Int32Array(rows * block)
  for (let row = 0; row < rows; row++) {
    const draw = uniformGenerator(`row ${number * rows + row}`)
    let token = Math.floor(draw() * vocabSize)
    for (let column = 0; column < block; column++) {
      tokens[row * block + column] = token
      token = (token + (draw() < 0.9 ? 1 : 3)) % vocabSize
    }
  }
  return {
    kind: 'samples',
    number,
    byteLength: tokens.byteLength,
    tokens,
    rows,
    block,
    cursor: {
      version: 1,
      globalSamples: (number + 1) * rows,
      seed: 1,
      sampleCount: 10_000,
      sequenceLength: block - 1,
      dataBytes: 160_000,
      tokenBytes: 2,
    },
  }
}

export function countingTrainingBatch(number: number, rows: number): TrainingBatch {
  const batch = countingBatch(number, rows)
  return toTrainingBatch(batch.tokens, batch.rows, batch.block)
}
