// Writes a checkpoint at step 0 with initial weights: node initialize.mjs FOLDER MODEL_OPTIONS
import { join } from 'node:path'
import { untrainedState } from '../../dist/cli/actions/convert.js'
import { saveCheckpoint } from '../../dist/training/checkpoint.js'
import { resolveModel } from '../../dist/training/options.js'
import { modelFile, writeTensors } from '../../dist/training/tensor-files.js'
import { initialPieces, weightSpecs } from '../../dist/training/weights.js'

const [folder, options] = process.argv.slice(2)
const model = resolveModel(JSON.parse(options))
const tensors = weightSpecs(model).map(spec => [
  spec.name,
  { shape: spec.shape, pieces: () => initialPieces(spec, model.seed) },
])
const saveState = async into => {
  await writeTensors(join(into, modelFile), new Map(tensors), { format: 'pt' })
  return [modelFile]
}
await saveCheckpoint(
  folder,
  null,
  { isPrimary: true, saveState },
  { ...(await untrainedState(model, undefined)), model },
)
