/** What is in an index, a packed file or a checkpoint: every byte that has a structure is read and checked. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { PenstockError } from '../errors.js'
import { createIndexReader } from '../formats/idx.js'
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
  let covered = 0
  let longest = 0
  let shortest = Number.POSITIVE_INFINITY
  const reader = createIndexReader(
    entries => {
      for (let entry = 0; entry < entries.length; entry += 2) {
        const length = entries[entry + 1]!
        covered = entries[entry]! + length
        longest = Math.max(longest, length)
        shortest = Math.min(shortest, length)
      }
    },
    { where: { file: path } },
  )
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 18 })) reader.feed(piece)
  const records = reader.end()
  return {
    kind: 'raw index',
    records: count(records),
    'bytes covered': bytes(covered),
    'longest record': bytes(longest),
    'shortest record': bytes(records === 0 ? 0 : shortest),
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
