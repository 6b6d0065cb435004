/** Decompressed bytes of a file, or of a part of it; the file is closed when the loop over them ends, however it ends. */
import { requireText } from '../../files/source-format.js'
import { readFile } from '../read-file.js'

const BOM_BYTES = 3
export const NOT_UTF8 = 'the text is not valid UTF-8: convert it, for example with iconv -f LATIN1 -t UTF-8'

/** Size of the byte order mark at the start of a text; 0 if it has none. */
export const bomBytes = (bytes: Uint8Array): number =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? BOM_BYTES : 0

/** Bytes [from, to) of the decompressed file; `to` only for an uncompressed one. */
interface PartOfText {
  readonly from?: number
  readonly to?: number | undefined
}

export async function* wholeFile(path: string, part: PartOfText = {}): AsyncGenerator<Uint8Array> {
  const stream = readFile({ path, ...part })
  try {
    yield* stream as AsyncIterable<Uint8Array>
  } finally {
    // Destroying a stream starts to close its file; `close` reports that it is closed.
    const closed = new Promise<void>(resolve => (stream.closed ? resolve() : void stream.once('close', resolve)))
    stream.destroy()
    await closed
  }
}

/** `wholeFile` of a file that holds text. @throws UNSUPPORTED if its first bytes are those of another format */
export async function* wholeText(
  path: string,
  { isJson = false, ...part }: PartOfText & { readonly isJson?: boolean } = {},
): AsyncGenerator<Uint8Array> {
  let isFirst = (part.from ?? 0) === 0
  for await (const chunk of wholeFile(path, part)) {
    if (isFirst) requireText(path, chunk, isJson)
    isFirst = false
    yield chunk
  }
}
