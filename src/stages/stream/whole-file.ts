/** Decompressed bytes of a file; the file is closed when the loop over them ends, however it ends. */
import { readFile } from '../read-file.js'

export async function* wholeFile(path: string): AsyncGenerator<Uint8Array> {
  const stream = readFile({ path })
  try {
    yield* stream as AsyncIterable<Uint8Array>
  } finally {
    // Destroying a stream starts to close its file; `close` reports that it is closed.
    const closed = new Promise<void>(resolve => (stream.closed ? resolve() : void stream.once('close', resolve)))
    stream.destroy()
    await closed
  }
}
