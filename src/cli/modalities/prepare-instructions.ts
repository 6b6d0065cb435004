/** Prepares instruction-tuning data according to a Modalities configuration: splits it into parts, indexes and packs each. */
import { PenstockError } from '../../errors.js'
import { writeOver } from '../../files/replace-file.js'
import { packTokenizing } from '../../modalities/hugging-face-tokenizer.js'
import { writeInstructionParts } from '../../modalities/instruction-data.js'
import { openInstructionPlan, openPackPlan, packConfigFor } from '../../modalities/plans/open-plan.js'
import { indexStages } from '../actions/index-jsonl.js'
import type { RunFlags } from '../actions/run-definition.js'
import { printStatus } from '../output/print.js'
import { faultOptionsOf } from '../output/shared-options.js'
import { quantity } from '../output/terminal.js'
import { type PackFlags, packAsPlanned } from './data-packing.js'
import { indexFile } from './index-file.js'

/** @throws CONFIG_INVALID before anything is written if the data cannot be packed; then as indexing and packing do */
export async function prepareInstructions(config: string, flags: RunFlags & PackFlags): Promise<void> {
  const plan = await openInstructionPlan(config)
  const { packConfigPath } = plan
  if (packConfigPath === null) {
    const message = 'expected a packing configuration under pbin_creation_config_file_path'
    throw new PenstockError('CONFIG_INVALID', message, { file: config, path: 'settings' })
  }
  const packing = await openPackPlan(packConfigPath)
  await packTokenizing(packing)
  const { rejected, parts } = await writeInstructionParts(plan, config, faultOptionsOf(flags))
  if (rejected > 0 && !flags.quiet) printStatus(`${quantity(rejected, 'faulty record')} skipped\n`)
  for (const part of parts) {
    // Each part is packed by a separate run, which needs a separate quarantine file.
    const quarantine = flags.quarantine === undefined ? {} : { quarantine: `${flags.quarantine}.${part.name}` }
    const override = { ...flags, ...quarantine, ifExists: 'override' } as const
    await indexFile(part.index, indexStages(part.data, part.index, override), override)
    await writeOver(part.packConfig, await packConfigFor(packConfigPath, part))
    const { data: sourcePath, index: indexPath, packed: outputPath } = part
    await packAsPlanned({ ...packing, sourcePath, indexPath, outputPath }, override, [config, packConfigPath])
  }
}
