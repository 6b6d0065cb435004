/** `penstock explain`: detects the kind of a Modalities configuration and explains training and packing ones. */
import { PenstockError } from '../../errors.js'
import { explainPacking, explainTraining } from '../../modalities/explain.js'
import { configText, openPackPlan, openTrainingPlan } from '../../modalities/plans/open-plan.js'
import { resolvedText } from '../../modalities/plans/read-config.js'
import { parseYamlTree } from '../../modalities/yaml/yaml-tree.js'
import { rejectUnused } from '../output/unused-flags.js'

export interface ExplainFlags {
  readonly experiments_root_path?: string
  readonly experiment_id?: string
  readonly last_checkpoint_info_file_path?: string
  readonly nproc?: number
  readonly resolved?: boolean
}

const TRAINING_FLAGS = ['resolved', 'experiments_root_path', 'experiment_id', 'last_checkpoint_info_file_path', 'nproc']

/** @throws FILE_MISSING, CONFIG_INVALID, UNSUPPORTED */
export async function explainConfig(file: string, flags: ExplainFlags): Promise<string> {
  const { entries } = parseYamlTree(await configText(file), file)
  if (entries.has('stages') || entries.has('pipelines')) {
    throw new PenstockError(
      'ARGUMENT_INVALID',
      `this is a Penstock definition, not a Modalities configuration: use penstock plan ${file}`,
      { file },
    )
  }
  if (entries.has('tokenizer') && !entries.has('train_dataloader')) {
    rejectUnused(flags, TRAINING_FLAGS, 'on a packing configuration')
    return toText(explainPacking(await openPackPlan(file), file))
  }
  if (!entries.has('train_dataloader')) {
    const message = 'expected a configuration for training (train_dataloader) or packing (tokenizer)'
    throw new PenstockError('UNSUPPORTED', message, { file })
  }
  const { plan, text, options } = await openTrainingPlan(file, {
    experimentsRootPath: flags.experiments_root_path ?? '.',
    experimentId: flags.experiment_id,
    worldSize: flags.nproc,
    lastCheckpointInfoPath: flags.last_checkpoint_info_file_path,
  })
  return flags.resolved ? resolvedText(text, options) : toText(explainTraining(plan, file))
}

const toText = (lines: readonly string[]): string => `${lines.join('\n')}\n`
