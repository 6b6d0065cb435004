/** Runs a Modalities profiling configuration: trains some steps on random tokens and writes their trace. */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { PenstockError } from '../../errors.js'
import { changing, makeFolder, removeFolder } from '../../files/durable.js'
import { copyOver, writeOver } from '../../files/replace-file.js'
import { encodePbinHeader } from '../../formats/pbin.js'
import { writePairList } from '../../formats/pickle.js'
import { modalitiesModel } from '../../modalities/import-checkpoint.js'
import { openProfilePlan } from '../../modalities/plans/open-plan.js'
import type { ModalitiesProfilePlan } from '../../modalities/plans/profile-plan.js'
import { noticeLine } from '../../modalities/plans/read-config.js'
import { definitionOf } from '../../pipelines/definition.js'
import { uniformGenerator } from '../../training/weights.js'
import { runTraining } from '../actions/train.js'
import { printStatus } from '../output/print.js'

export interface ProfileFlags {
  readonly config_file_path: string
  readonly experiment_root_path: string
  readonly engine: 'tfjs' | 'torch'
  readonly nproc?: number
  readonly quiet?: boolean
}

/** @returns the path of the trace. @throws CONFIG_INVALID, UNSUPPORTED, ARGUMENT_INVALID, and errors from training */
export async function profileSteps(flags: ProfileFlags): Promise<string> {
  const { config_file_path: file, experiment_root_path: root, engine, nproc = 1 } = flags
  if (engine !== 'torch' && nproc > 1) throw new PenstockError('ARGUMENT_INVALID', '--nproc needs --engine torch')
  const { plan, experimentId } = await openProfilePlan(file, { experimentsRootPath: root, worldSize: nproc })
  if (!flags.quiet) for (const notice of plan.notices) printStatus(`${noticeLine(file, notice)}\n`)
  const folder = join(root, experimentId)
  await makeFolder(folder)
  await copyOver(file, join(folder, basename(file)))
  await makeFolder(plan.outputFolder)
  const trace = join(plan.outputFolder, `profiler_trace_ranks_${nproc}_rank_0.json`)
  const data = await changing(tmpdir(), () => mkdtemp(join(tmpdir(), 'penstock-')))
  try {
    const path = join(data, 'random.pbin')
    await writeOver(path, randomTokens(plan, nproc))
    const samples = { path, sequence_length: plan.columns, batch_size: plan.rows, shuffle: 'none' }
    const training = {
      model: { ...modalitiesModel(plan.model), sequence_length: plan.columns },
      batch_size: plan.rows,
      accumulation_steps: nproc,
      steps: plan.steps,
      log_every_steps: 1,
      engine,
      torch: { nproc },
    }
    const stages = [{ 'shuffle-samples': samples }, { 'feed-trainer': training }]
    const definition = { name: experimentId, monitoring: { folder, trace: { path: trace } }, stages }
    await runTraining(definitionOf(definition, file), flags.quiet ? { quiet: true } : {})
  } finally {
    await removeFolder(data)
  }
  return trace
}

/**
 * Bytes of a packed file with one document that fills the samples of all steps.
 * @throws TOKENIZER_MISMATCH if ids exceed the vocabulary of the model
 */
function randomTokens({ rows, columns, steps, first, end, model }: ModalitiesProfilePlan, ranks: number): Uint8Array {
  if (first < 0 || end > model.vocab_size || first >= end) {
    const message = `token ids in [${first}, ${end}) exceed the vocabulary size of ${model.vocab_size}`
    throw new PenstockError('TOKENIZER_MISMATCH', message)
  }
  const draw = uniformGenerator('profile')
  const tokens = Uint32Array.from(
    { length: rows * columns * steps * ranks + 1 },
    () => first + Math.floor(draw() * (end - first)),
  )
  const data = new Uint8Array(tokens.length * 4)
  const view = new DataView(data.buffer)
  for (const [index, token] of tokens.entries()) view.setUint32(4 * index, token, true)
  const header = encodePbinHeader({ dataBytes: data.byteLength, tokenBytes: 4 })
  return Buffer.concat([header, data, writePairList([[0, data.byteLength]])])
}
