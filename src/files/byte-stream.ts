/**
 * Non-blocking streams of standard input, pipes, terminals and devices. A blocking read of a silent pipe would occupy a
 * thread that no signal can interrupt, and the process could not exit before that thread returns.
 */
import { constants, createReadStream, fstatSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { addAbortSignal, type Readable } from 'node:stream'
import { isatty, ReadStream } from 'node:tty'

/** Opening a named pipe must not wait for a writer. Has no effect on regular files. */
export const NON_BLOCKING_READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0)

/** Streams a file that is not seekable; `-` is standard input. An abort of the signal destroys the stream. */
export function openByteStream(path: string, signal?: AbortSignal): AsyncIterable<Uint8Array> {
  const stream = path === '-' ? process.stdin : streamOf(openSync(path, NON_BLOCKING_READ))
  return signal === undefined ? stream : addAbortSignal(signal, stream)
}

function streamOf(fd: number): Readable {
  if (isatty(fd)) return new ReadStream(fd)
  const stats = fstatSync(fd)
  if (stats.isFIFO() || stats.isSocket()) return new Socket({ fd, readable: true, writable: false })
  return createReadStream('', { fd })
}
