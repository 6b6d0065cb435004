/** What is in an index, a packed file or a checkpoint: every byte that has a structure is read and checked. */
import { readFile, stat } from 'node:fs/promises'
import { PenstockError } from '../errors.js'
import { readIndex } from '../formats/idx.js'
import { findCheckpoint } from './continue-text.js'
import { inspectPacked } from './inspect-packed.js'
import { bytes, count } from './terminal.js'

type Facts = Record<string, string | number>

/** @throws FILE_MISSING, and what is wrong with the file */
export async function inspectPath(path: string, tokenizer: string | undefined): Promise<Facts> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) throw new PenstockError('FILE_MISSING', 'no such file or folder', { file: path })
  if (stats.isDirectory()) return inspectCheckpoint(path)
  if (path.endsWith('.idx')) return inspectIndex(path)
  if (path.endsWith('.pbin')) return inspectPacked(path, tokenizer)
  throw new PenstockError('ARGUMENT_INVALID', 'expected an .idx or .pbin file, or a checkpoint folder', { file: path })
}

async function inspectIndex(path: string): Promise<Facts> {
  const entries = readIndex(await readFile(path), { where: { file: path } })
  const lengths = entries.filter((_, position) => position % 2 === 1)
  return {
    kind: 'raw index',
    records: count(lengths.length),
    'bytes covered': bytes(entries.length === 0 ? 0 : entries.at(-2)! + entries.at(-1)!),
    'longest record': bytes(extreme(lengths, Math.max)),
    'shortest record': bytes(extreme(lengths, Math.min)),
  }
}

async function inspectCheckpoint(path: string): Promise<Facts> {
  const checkpoint = await findCheckpoint(path)
  const { state } = checkpoint
  return {
    kind: 'checkpoint',
    path: checkpoint.path,
    step: state.step,
    'tokens seen': count(state.consumedTokens),
    'samples seen': count(state.cursor?.globalSamples ?? 0),
    model: JSON.stringify(state.model),
    tokenizer:
      state.tokenizer === undefined
        ? 'not recorded'
        : `${state.tokenizer.path} (${state.tokenizer.sha256.slice(0, 12)})`,
  }
}

/** Math.max and Math.min take no long arrays as arguments. */
function extreme(values: Float64Array, pick: (a: number, b: number) => number): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => pick(a, b))
}
