/**
 * Main-thread side of the workers' tokenizer: locates its file and asks the workers for its properties. The main thread
 * does not load the tokenizer, so a file that loads slowly or never cannot block it.
 */
import { stat } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { PenstockError } from '../../errors.js'
import type { TokenizerIdentity } from '../../formats/batches.js'
import type { TokenBytes } from '../../formats/pbin.js'
import type { EngineInfo } from '../../tokenizer/tokenizer.js'
import { runWithoutPoison } from '../poison-records.js'
import { WorkerDeath } from '../worker-function.js'
import type { Workers } from '../worker-pool.js'

const NAMES_IN_FOLDER = ['tokenizer.json', 'tokenizer.model']

/** Setup of workers that tokenize. */
export interface TokenizerSetup {
  readonly tokenizerPath: string
  /** Device, inode, size and mtime of the file: a changed file needs new workers. */
  readonly tokenizerState: string
  readonly tokenizerBytes: number
  readonly endOfDocument: string | undefined
  /** Further special tokens, in addition to those in the file. */
  readonly specialTokens: readonly string[]
  /** Token to pad documents with. */
  readonly padToken: string | undefined
  /** Most memory of a worker's word cache; undefined for the default of the tokenizer. */
  readonly cacheBytes: number | undefined
}

type OptionalSetup = Pick<TokenizerSetup, 'specialTokens' | 'padToken' | 'cacheBytes'>

/** Called in the main thread. @throws FILE_MISSING */
export async function tokenizerSetup(
  path: string,
  endOfDocument: string | undefined,
  { specialTokens = [], padToken, cacheBytes }: Partial<OptionalSetup> = {},
): Promise<TokenizerSetup> {
  const tokenizerPath = await tokenizerFileAt(path)
  const { dev, ino, size, mtimeMs } = await stat(tokenizerPath)
  const tokenizerState = [dev, ino, size, mtimeMs].join()
  return { tokenizerPath, tokenizerState, tokenizerBytes: size, endOfDocument, specialTokens, padToken, cacheBytes }
}

/** By default all workers together may use this share of the memory, and at least LEAST_CACHE_BYTES. */
const CACHE_SHARE = 1 / 32
const LEAST_CACHE_BYTES = 200e6

/** @param megabytes memory of all workers, if the user chose it */
export function cacheBytesPerWorker(workers: number, megabytes: number | undefined): number {
  // 0 or larger than the machine without a limit.
  const memory = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)
  const bytes = megabytes === undefined ? Math.max(LEAST_CACHE_BYTES, memory * CACHE_SHARE) : megabytes * 1e6
  return Math.floor(bytes / workers)
}

/** The tokenizer file at a path, or in the folder at a path. @throws FILE_MISSING, FILE_UNREADABLE */
export async function tokenizerFileAt(path: string): Promise<string> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) throw new PenstockError('FILE_MISSING', 'no such tokenizer file or folder', { file: path })
  if (stats.isFile()) return path
  if (!stats.isDirectory()) {
    const message = 'expected a regular file, found a pipe or device: the tokenizer is read several times'
    throw new PenstockError('FILE_UNREADABLE', message, { file: path })
  }
  for (const name of NAMES_IN_FOLDER) {
    const file = join(path, name)
    if ((await stat(file).catch(() => undefined))?.isFile()) return file
  }
  throw new PenstockError('FILE_MISSING', `the folder contains no ${NAMES_IN_FOLDER.join(' or ')}`, { file: path })
}

export interface TokenizerFacts {
  readonly identity: TokenizerIdentity
  readonly tokenBytes: TokenBytes
  readonly engineInfo: EngineInfo
  readonly padId: number | undefined
}

/** Replies by pool: each pool is asked only once. */
const descriptions = new WeakMap<object, Promise<TokenizerFacts>>()

/**
 * Called in the main thread: makes every worker load the tokenizer and returns the first worker's description of it.
 *
 * @throws TOKENIZER_INVALID, TOKENIZER_MISMATCH; WORKER_HUNG for a file that takes too long
 */
export function tokenizerFactsOf(workers: Workers, setup: TokenizerSetup): Promise<TokenizerFacts> {
  const { threads } = workers
  const known = descriptions.get(threads)
  if (known !== undefined) return known
  const description = ask(workers, setup)
  descriptions.set(threads, description)
  description.catch(() => descriptions.delete(threads))
  return description
}

async function ask(workers: Workers, { tokenizerPath }: TokenizerSetup): Promise<TokenizerFacts> {
  const describe = async (): Promise<TokenizerFacts> => {
    try {
      return await workers.run('describeTokenizer', undefined)
    } catch (error) {
      // No retry: another worker would take as long for the same file.
      throw error instanceof WorkerDeath && error.code === 'WORKER_HUNG' ? terminatedError(tokenizerPath, error) : error
    }
  }
  // The other workers load theirs concurrently. Their errors are reported by the first worker, or with their first
  // batch.
  for (let other = 1; other < workers.size; other++) describe().catch(() => {})
  return (await runWithoutPoison(describe, { file: tokenizerPath })).reply
}

/** Error for a worker that died or hung while loading or using a tokenizer file. */
export function terminatedError(file: string, death: WorkerDeath): PenstockError {
  return new PenstockError(death.code, `the tokenizer was terminated: ${death.message}`, { file }, death)
}

/** Notice for users whose tokenizer runs on another engine than the one in WebAssembly. */
export function engineNote({ why }: EngineInfo): string | undefined {
  return why.startsWith('our engine in WebAssembly') ? undefined : `tokenizing with ${why}`
}
