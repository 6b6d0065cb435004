/**
 * Resolvers for interpolations in Modalities' configurations. The caller passes all values; nothing is read from the system.
 * Only the environment variables of a distributed launch are available, so no secret can leak into a configuration.
 */
import type { ResolvedValue, Resolvers } from './interpolate.js'

/** Values that resolvers can return, as seen from one rank. */
export interface World {
  readonly rank: number
  readonly localRank: number
  readonly worldSize: number
}

export const SINGLE_PROCESS: World = { rank: 0, localRank: 0, worldSize: 1 }

export interface ResolverContext {
  readonly configFilePath: string
  readonly configFolderPath: string
  readonly experimentId?: string | undefined
  readonly experimentsRootPath?: string | undefined
  readonly world?: World | undefined
  readonly cpuCount?: number | undefined
  /** Process environment; only the variables of ALLOWED_VARIABLES are read. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
  /** Contents of last_checkpoint_info.json, for `${warmstart_env:checkpoint_paths}`. */
  readonly checkpointPaths?: Readonly<Record<string, string>> | undefined
}

/** Environment variables that torchrun sets for its workers. */
const ALLOWED_VARIABLES = new Set([
  'GROUP_RANK',
  'GROUP_WORLD_SIZE',
  'LOCAL_WORLD_SIZE',
  'MASTER_ADDR',
  'MASTER_PORT',
  'ROLE_NAME',
  'ROLE_RANK',
  'ROLE_WORLD_SIZE',
  'TORCHELASTIC_MAX_RESTARTS',
  'TORCHELASTIC_RESTART_COUNT',
  'TORCHELASTIC_RUN_ID',
])

export function modalitiesResolvers(context: ResolverContext): Resolvers {
  const { rank, localRank, worldSize } = context.world ?? SINGLE_PROCESS
  const lookUp = (values: Readonly<Record<string, ResolvedValue | undefined>>) => (name: string) =>
    Object.hasOwn(values, name) ? values[name] : undefined
  const variable = (name: string) => (ALLOWED_VARIABLES.has(name) ? context.environment?.[name] : undefined)
  const launch = lookUp({ RANK: rank, LOCAL_RANK: localRank, WORLD_SIZE: worldSize })
  return {
    cuda_env: name => launch(name) ?? variable(name),
    modalities_env: lookUp({
      config_file_path: context.configFilePath,
      config_folder_path: context.configFolderPath,
      experiment_id: context.experimentId,
      experiments_root_path: context.experimentsRootPath,
    }),
    node_env: lookUp({ num_cpus: context.cpuCount }),
    warmstart_env: lookUp({ checkpoint_paths: context.checkpointPaths }),
  }
}
