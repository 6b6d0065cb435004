/** A checkpoint -> a folder that transformers opens; whole or absent. */
import { copyFile, mkdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PenstockError } from '../errors.js'
import { llamaConfig } from '../pipelines/modalities/hugging-face.js'
import { openCheckpointPlan } from '../pipelines/modalities/open-plan.js'
import { openTokenizer } from '../stages/tokenizer-file.js'
import { openCheckpoint } from '../training/checkpoint.js'
import { resolveModel } from '../training/options.js'
import type { ConvertFlags } from './convert.js'

const WEIGHTS = 'model.safetensors'
const BESIDE_TOKENIZER = ['tokenizer_config.json', 'special_tokens_map.json', 'generation_config.json']

/** @throws CONFIG_INVALID, FILE_EXISTS, FILE_MISSING, CHECKPOINT_INVALID, UNSUPPORTED */
export async function convertCheckpoint(flags: ConvertFlags): Promise<string> {
  const output = flags.output_hf_checkpoint_dir
  if ((await stat(output).catch(() => undefined)) !== undefined) {
    throw new PenstockError('FILE_EXISTS', 'the output exists', { file: output })
  }
  const plan = await openCheckpointPlan(flags.config_file_path)
  const { path, state } = await openCheckpoint(await realpath(plan.checkpointPath).catch(() => plan.checkpointPath))
  const config = llamaConfig(resolveModel(state.model))
  const tokenizer = plan.tokenizerPath ?? state.tokenizer?.path
  const partial = `${output}.partial`
  await rm(partial, { recursive: true, force: true })
  await mkdir(partial, { recursive: true })
  await writeFile(join(partial, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
  await copyFile(join(path, WEIGHTS), join(partial, WEIGHTS))
  if (tokenizer !== undefined) await copyTokenizer(tokenizer, partial)
  await rename(partial, output)
  return output
}

async function copyTokenizer(path: string, to: string): Promise<void> {
  const { path: file } = await openTokenizer(path)
  await copyFile(file, join(to, 'tokenizer.json'))
  for (const name of BESIDE_TOKENIZER) {
    const beside = join(dirname(file), name)
    if ((await stat(beside).catch(() => undefined)) !== undefined) await copyFile(beside, join(to, name))
  }
}
