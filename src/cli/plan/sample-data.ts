/** Compares the packed files of a training with its tokenizer, and the samples that it trains on with the held-out ones. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { DescriptorPool } from '../../files/descriptor-pool.js'
import { checkTokenizer, readPackedManifest } from '../../files/manifest.js'
import { openPackedFile } from '../../files/packed-file.js'
import { openPackFile, type PackFile } from '../../files/samples/pack-file.js'
import type { TokenRange } from '../../formats/batches.js'
import { chosenRanges, type SampledFile, type SampleSelection } from '../../sampling/sample-range.js'
import { chosenRows, sampledFile } from '../../stages/samples/packed-samples.js'
import { overlapProblem, type SampleStage } from '../../training/held-out-overlap.js'
import { tokenizerReference } from '../../workers/tokenizer/load-tokenizer.js'
import type { PlanContext } from './model.js'

export interface SampledFiles extends SampleSelection {
  readonly path?: string
  readonly more_paths?: readonly string[] | undefined
  /** Instead of `path`. */
  readonly paths?: readonly string[]
  readonly pack?: string | undefined
}

interface TrainerData {
  /** Reads the samples to train on. */
  readonly stage: SampleStage
  readonly tokenizer?: string | undefined
  readonly heldOut: readonly (SampledFiles & { readonly allow_overlap?: boolean })[]
}

/** Reports packed files of another tokenizer, and held-out samples that are also trained on. */
export async function checkSampleData(
  sources: readonly SampledFiles[],
  { stage, tokenizer, heldOut }: TrainerData,
  context: PlanContext,
): Promise<void> {
  const parts = [...sources, ...heldOut]
  if (tokenizer !== undefined && existsSync(tokenizer))
    await checkTokenizers(parts.flatMap(pathsOf), tokenizer, context)
  const apart = heldOut.filter(set => !set.allow_overlap)
  if (apart.length === 0) return
  const trainings = await Promise.all(sources.map(source => rangesOf(source, context)))
  for (const set of apart) {
    const evaluation = await rangesOf(set, context)
    for (const training of trainings) {
      const problem = training && evaluation && overlapProblem(training, evaluation, stage)
      if (problem !== undefined) context.problem('error', problem)
    }
  }
}

export const pathsOf = ({ path, more_paths = [], paths = [] }: SampledFiles): readonly string[] =>
  path === undefined ? paths : [path, ...more_paths]

async function checkTokenizers(paths: readonly string[], tokenizer: string, { problem }: PlanContext): Promise<void> {
  const reference = await tokenizerReference(tokenizer)
  for (const path of new Set(paths.filter(existsSync))) {
    const file = await openPackedFile(path)
    await file.close()
    const manifest = await readPackedManifest(path, file.header)
    try {
      if (manifest !== undefined) checkTokenizer(manifest, reference, path)
    } catch (error) {
      if (!(error instanceof PenstockError)) throw error
      problem('error', error.toLine())
    }
  }
}

/**
 * The chosen tokens of each file; undefined if a file does not exist and no earlier pipeline writes it. Of a file that an
 * earlier pipeline writes the documents are unknown, and a range of them is estimated by tokens.
 * @throws DATA_TOO_SMALL
 */
export async function rangesOf(part: SampledFiles, context: PlanContext): Promise<readonly TokenRange[] | undefined> {
  if (part.pack !== undefined) return rowRangesOf(part, part.pack)
  const files = await sampledFilesOf(part, context)
  if (files === undefined) return undefined
  const isKnown = part.range !== 'documents' || files.every(({ tokens }) => tokens !== undefined)
  return chosenRanges(files, isKnown ? part : { ...part, range: 'file' })
}

/** The chosen rows; undefined if the .pack file does not exist yet. */
async function rowRangesOf(part: SampledFiles, path: string): Promise<readonly TokenRange[] | undefined> {
  const pack = await packIn(path)
  return (
    pack && [
      chosenRows(
        pack,
        pathsOf(part).map(file => ({ path: file })),
        part,
      ).range,
    ]
  )
}

/** Undefined if it does not exist. @throws PACK_INVALID */
export async function packIn(path: string): Promise<PackFile | undefined> {
  if (!existsSync(path)) return undefined
  const pool = new DescriptorPool()
  try {
    return await openPackFile(path, pool)
  } finally {
    pool.close()
  }
}

/** Undefined if a file does not exist and no earlier pipeline writes it. */
export async function sampledFilesOf(part: SampledFiles, context: PlanContext): Promise<SampledFile[] | undefined> {
  const files: SampledFile[] = []
  for (const path of pathsOf(part)) {
    if (!existsSync(path)) {
      const tokenCount = context.madeTokens.get(resolve(path))
      if (tokenCount === undefined) return undefined
      files.push({ path, tokenCount })
      continue
    }
    const file = await openPackedFile(path)
    try {
      files.push(await sampledFile(file, part))
    } finally {
      await file.close()
    }
  }
  return files
}
