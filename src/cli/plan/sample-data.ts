/** Compares the packed files of a training with its tokenizer, and the samples that it trains on with the held-out ones. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { checkTokenizer, readPackedManifest } from '../../files/manifest.js'
import { openPackedFile } from '../../files/packed-file.js'
import type { TokenRange } from '../../formats/batches.js'
import { chosenRanges, type SampleSelection } from '../../sampling/sample-range.js'
import { overlapProblem } from '../../training/held-out-overlap.js'
import { tokenizerReference } from '../../workers/tokenizer/load-tokenizer.js'
import type { PlanContext } from './model.js'

export interface SampledFiles extends SampleSelection {
  readonly path: string
  readonly more_paths?: readonly string[] | undefined
}

interface TrainerData {
  readonly tokenizer?: string | undefined
  /** Undefined if the training does not evaluate. */
  readonly heldOut: (SampledFiles & { readonly allow_overlap?: boolean }) | undefined
}

/** Reports packed files of another tokenizer, and held-out samples that are also trained on. */
export async function checkSampleData(
  source: SampledFiles | undefined,
  { tokenizer, heldOut }: TrainerData,
  context: PlanContext,
): Promise<void> {
  const parts = [source, heldOut].filter(part => part !== undefined)
  if (tokenizer !== undefined && existsSync(tokenizer))
    await checkTokenizers(parts.flatMap(pathsOf), tokenizer, context)
  if (source === undefined || heldOut === undefined || heldOut.allow_overlap) return
  const [training, evaluation] = [await rangesOf(source, context), await rangesOf(heldOut, context)]
  const problem = training && evaluation && overlapProblem(training, evaluation)
  if (problem !== undefined) context.problem('error', problem)
}

const pathsOf = ({ path, more_paths = [] }: SampledFiles): readonly string[] => [path, ...more_paths]

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

/** Undefined if a file does not exist and no earlier pipeline writes it. @throws DATA_TOO_SMALL */
async function rangesOf(part: SampledFiles, context: PlanContext): Promise<readonly TokenRange[] | undefined> {
  const files: { path: string; tokenCount: number }[] = []
  for (const path of pathsOf(part)) {
    const tokenCount = await tokensIn(path, context)
    if (tokenCount === undefined) return undefined
    files.push({ path, tokenCount })
  }
  return chosenRanges(files, part)
}

/** Tokens in a packed file, or the number planned for it; undefined if neither is known. */
export async function tokensIn(path: string, { madeTokens }: PlanContext): Promise<number | undefined> {
  if (!existsSync(path)) return madeTokens.get(resolve(path))
  const file = await openPackedFile(path)
  await file.close()
  return file.tokenCount
}
