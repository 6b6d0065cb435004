/** Several packed files whose documents are to stand in one: of one token width and, as far as it is known, one tokenizer. */
import { PenstockError } from '../errors.js'
import type { TokenizerIdentity } from '../formats/batches.js'
import { type PackedManifest, readPackedManifest } from './manifest.js'
import { openPackedFile, type PackedFile } from './packed-file.js'

export interface PackedFiles {
  readonly files: readonly PackedFile[]
  /** What made the tokens; undefined where one of the files does not tell. */
  readonly tokenizer: TokenizerIdentity | undefined
  close(): Promise<void>
}

/** Opens them all; the caller closes them. @throws FILE_MISSING, PBIN_INVALID, TOKENIZER_MISMATCH */
export async function openPackedFiles(paths: readonly string[]): Promise<PackedFiles> {
  const files: PackedFile[] = []
  const close = async (): Promise<void> => {
    for (const file of files) await file.close()
  }
  try {
    const manifests: (PackedManifest | undefined)[] = []
    for (const path of paths) {
      const file = await openPackedFile(path)
      files.push(file)
      manifests.push(await readPackedManifest(path, file.header))
      checkAlike(files[0]!, file)
    }
    return { files, tokenizer: commonTokenizer(manifests, files), close }
  } catch (error) {
    await close()
    throw error
  }
}

function checkAlike(first: PackedFile, other: PackedFile): void {
  const [width, found] = [first.header.tokenBytes, other.header.tokenBytes]
  if (width === found) return
  const message = `tokens of ${found} bytes, where ${first.path} has tokens of ${width}: they cannot stand in one file`
  throw new PenstockError('TOKENIZER_MISMATCH', message, { file: other.path })
}

function commonTokenizer(
  manifests: readonly (PackedManifest | undefined)[],
  files: readonly PackedFile[],
): TokenizerIdentity | undefined {
  const known = manifests.flatMap((manifest, index) =>
    manifest?.tokenizer === undefined ? [] : [{ index, tokenizer: manifest.tokenizer }],
  )
  const [first] = known
  const other = known.find(({ tokenizer }) => tokenizer.sha256 !== first!.tokenizer.sha256)
  if (other !== undefined) {
    const message = `packed with another tokenizer than ${files[first!.index]!.path}`
    throw new PenstockError('TOKENIZER_MISMATCH', message, { file: files[other.index]!.path })
  }
  if (first === undefined || known.length < manifests.length) return undefined
  return first.tokenizer
}
