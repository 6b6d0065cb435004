/** The work of a launch: the folder of a plan, or a definition that is planned first. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { planPathOf, readPlan } from '../../../cluster/plan-file.js'
import { PenstockError } from '../../../errors.js'
import type { Variables } from '../../../pipelines/definition.js'
import { rejectUnused } from '../../output/unused-flags.js'
import { openDefinition } from '../open-definition.js'
import { planDefinition, type WrittenPlan } from './plan-shards.js'

export interface LaunchFlags {
  readonly shards?: number
  readonly shardFolder?: string
  readonly set?: Variables
  readonly quiet?: boolean
  readonly json?: boolean
  /** Command that runs Penstock on the nodes. */
  readonly penstock?: string
}

/** @throws ARGUMENT_INVALID, and the errors of a plan */
export async function openWork(work: string, flags: LaunchFlags): Promise<WrittenPlan> {
  if (existsSync(planPathOf(work))) {
    rejectUnused(flags, ['shards', 'shardFolder', 'set'], 'with the folder of a plan')
    return { folder: resolve(work), plan: await readPlan(work) }
  }
  const { shards } = flags
  if (shards === undefined) {
    throw new PenstockError('ARGUMENT_INVALID', 'a definition needs the number of its shards: --shards COUNT')
  }
  const written = await planDefinition(await openDefinition(work, flags.set), { ...flags, shards })
  return { ...written, folder: resolve(written.folder) }
}

/** By default this very installation, which shared storage provides under the same path. */
export const commandOf = ({ penstock }: LaunchFlags): string[] =>
  penstock === undefined ? [process.execPath, resolve(process.argv[1]!)] : penstock.split(' ')
