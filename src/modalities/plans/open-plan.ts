/** Reads Modalities configurations from files, including the packed files, indexes and checkpoints they depend on. */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, resolve } from 'node:path'
import { PenstockError, toPenstockError } from '../../errors.js'
import { readAll, readFullySync } from '../../files/read-at.js'
import { readIndex } from '../../formats/idx.js'
import { decodePbinHeader, PBIN_HEADER_BYTES } from '../../formats/pbin.js'
import { experimentId } from './names.js'
import {
  type ModalitiesCheckpointPlan,
  type ModalitiesGenerationPlan,
  type ModalitiesInstructionPlan,
  readCheckpointPlan,
  readGenerationPlan,
  readInstructionPlan,
  readModel,
} from './other-plans.js'
import { type ModalitiesPackPlan, readPackPlan } from './pack-plan.js'
import { type ModalitiesProfilePlan, readProfilePlan } from './profile-plan.js'
import { type ReadOptions, resolvedText } from './read-config.js'
import { type Gpt2Options, type ModalitiesTrainingPlan, readTrainingPlan } from './training-plan.js'

export interface OpenTrainingOptions {
  readonly experimentsRootPath?: string | undefined
  /** Derived from the time and the configuration's path by default. */
  readonly experimentId?: string | undefined
  /** Number of ranks. */
  readonly worldSize?: number | undefined
  /** The `last_checkpoint_info.json` of the run to warmstart from. */
  readonly lastCheckpointInfoPath?: string | undefined
}

export interface OpenedTraining {
  readonly plan: ModalitiesTrainingPlan
  readonly text: string
  readonly options: ReadOptions
}

export interface OpenedProfile {
  readonly plan: ModalitiesProfilePlan
  readonly experimentId: string
}

/** @throws FILE_MISSING, CONFIG_INVALID, and errors from the files that the configuration names */
export async function openTrainingPlan(path: string, open: OpenTrainingOptions = {}): Promise<OpenedTraining> {
  const text = await configText(path)
  const pathHash = createHash('sha256').update(path).digest('hex')
  const options: ReadOptions = {
    ...common(path),
    experimentId: open.experimentId ?? experimentId(new Date(), pathHash),
    experimentsRootPath: open.experimentsRootPath,
    world: { rank: 0, localRank: 0, worldSize: open.worldSize ?? 1 },
    checkpointPaths:
      open.lastCheckpointInfoPath === undefined ? undefined : await checkpointPaths(open.lastCheckpointInfoPath),
    readTokenCount,
    readDocumentCount,
  }
  return { plan: readTrainingPlan(text, options), text, options }
}

/** @throws FILE_MISSING, CONFIG_INVALID */
export async function openPackPlan(path: string): Promise<ModalitiesPackPlan> {
  return readPackPlan(await configText(path), common(path))
}

/** @throws FILE_MISSING, CONFIG_INVALID, UNSUPPORTED */
export async function openGenerationPlan(path: string): Promise<ModalitiesGenerationPlan> {
  return readGenerationPlan(await configText(path), common(path))
}

/** Placeholder values of a run, used when only the model of a configuration is read. */
const NO_RUN = {
  experimentId: 'none',
  experimentsRootPath: '.',
  checkpointPaths: { checkpoint_folder_path: '.', model_checkpoint_path: '.', optimizer_checkpoint_path: '.' },
}

/** @throws FILE_MISSING, CONFIG_INVALID, UNSUPPORTED */
export async function openCheckpointPlan(path: string): Promise<ModalitiesCheckpointPlan> {
  return readCheckpointPlan(await configText(path), { ...common(path), ...NO_RUN })
}

/** @throws FILE_MISSING, CONFIG_INVALID, UNSUPPORTED */
export async function openModel(path: string): Promise<Gpt2Options> {
  return readModel(await configText(path), { ...common(path), ...NO_RUN })
}

/** @throws FILE_MISSING, CONFIG_INVALID, UNSUPPORTED */
export async function openProfilePlan(path: string, open: OpenTrainingOptions): Promise<OpenedProfile> {
  const { experimentsRootPath, worldSize = 1 } = open
  const id = experimentId(new Date(), createHash('sha256').update(path).digest('hex'))
  const world = { rank: 0, localRank: 0, worldSize }
  const options = { ...common(path), experimentId: id, experimentsRootPath, world }
  return { plan: readProfilePlan(await configText(path), options), experimentId: id }
}

/** @throws FILE_MISSING, CONFIG_INVALID */
export async function openInstructionPlan(path: string): Promise<ModalitiesInstructionPlan> {
  return readInstructionPlan(await configText(path), common(path))
}

/** A resolved packing configuration for different files. @throws FILE_MISSING, CONFIG_INVALID */
export async function packConfigFor(
  path: string,
  { data, index, packed }: { readonly data: string; readonly index: string; readonly packed: string },
): Promise<string> {
  const settings = { src_path: data, index_path: index, dst_path: packed }
  return resolvedText(await configText(path), { ...common(path), readTokenCount: () => 0 }, settings)
}

/** @throws FILE_MISSING */
export async function configText(path: string): Promise<string> {
  const text = await readAll(path).catch(error => {
    const message = `cannot read the configuration: ${(error as Error).message}`
    throw new PenstockError('FILE_MISSING', message, { file: path }, error)
  })
  return text.toString()
}

function common(path: string) {
  return {
    configFilePath: path,
    configFolderPath: dirname(resolve(path)),
    cpuCount: availableParallelism(),
    environment: process.env,
  }
}

async function checkpointPaths(path: string): Promise<Record<string, string>> {
  const invalid = (cause?: unknown) =>
    new PenstockError('CHECKPOINT_INVALID', 'expected a JSON object with checkpoint paths', { file: path }, cause)
  let found: unknown
  try {
    found = JSON.parse(await configText(path))
  } catch (error) {
    throw error instanceof PenstockError ? error : invalid(error)
  }
  const isPaths =
    typeof found === 'object' && found !== null && Object.values(found).every(value => typeof value === 'string')
  if (!isPaths) throw invalid()
  return found as Record<string, string>
}

/** Number of documents in an index. @throws FILE_UNREADABLE, IDX_INVALID */
function readDocumentCount(file: string): number {
  try {
    return readIndex(readFileSync(file), { where: { file } }).length / 2
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  }
}

/** Number of tokens in a packed file, from its header. @throws FILE_MISSING, FILE_UNREADABLE, PBIN_INVALID */
function readTokenCount(path: string): number {
  const bytes = new Uint8Array(PBIN_HEADER_BYTES)
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    throw new PenstockError('FILE_MISSING', `cannot read the packed file: ${(error as Error).message}`, { file: path })
  }
  try {
    const read = readFullySync({ path, fd }, bytes, 0)
    const header = decodePbinHeader(bytes.subarray(0, read), statSync(path).size, { file: path })
    return header.dataBytes / header.tokenBytes
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  } finally {
    closeSync(fd)
  }
}
