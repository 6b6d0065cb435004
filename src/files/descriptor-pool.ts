/**
 * Descriptors of any number of files, of which at most MAX_OPEN are open: the least recently used one is closed, and
 * reopened on demand. Without it, a command over more files than `ulimit -n` fails with EMFILE.
 */
import { closeSync, fstatSync, openSync, type Stats } from 'node:fs'
import { toPenstockError } from '../errors.js'
import { checkSameFile } from './source-file.js'

/** Leaves room below the usual soft limits (256 on macOS, 1,024 on Linux) for Node, workers and outputs. */
const MAX_OPEN = 128

export interface Descriptor {
  readonly fd: number
  close(): void | Promise<void>
}

/** A file of a pool. Its `fd` is valid until the next `fd` of another file: it must not be kept across an `await`. */
export interface PooledFile extends Descriptor {
  readonly path: string
}

/** Owns the open descriptors until `close` is called. */
export class DescriptorPool {
  /** Open descriptors, the least recently used first. */
  private readonly open = new Map<PooledFile, number>()

  /** @param stats of the file as first opened: reopening another file under its name throws FILE_CHANGED */
  add(path: string, stats: Stats): PooledFile {
    const pool = this
    return {
      path,
      get fd() {
        return pool.descriptorOf(this, stats)
      },
      close() {
        pool.evict(this)
      },
    }
  }

  close(): void {
    for (const file of this.open.keys()) this.evict(file)
  }

  private descriptorOf(file: PooledFile, stats: Stats): number {
    const fd = this.open.get(file) ?? this.reopen(file.path, stats)
    this.open.delete(file)
    this.open.set(file, fd)
    return fd
  }

  private reopen(path: string, stats: Stats): number {
    const [oldest] = this.open.keys()
    if (this.open.size >= MAX_OPEN) this.evict(oldest!)
    let fd: number
    try {
      fd = openSync(path, 'r')
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
    }
    try {
      checkSameFile(path, stats, fstatSync(fd))
    } catch (error) {
      closeSync(fd)
      throw error
    }
    return fd
  }

  private evict(file: PooledFile): void {
    const fd = this.open.get(file)
    this.open.delete(file)
    if (fd !== undefined) closeSync(fd)
  }
}
