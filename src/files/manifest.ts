/**
 * The manifest of an output, `<name>.manifest`, in MessagePack: size, checksums and origin of the file, for which its own
 * format has no fields. It is published before the data file, so a data file with a manifest always matches it. The data
 * files themselves stay readable by Modalities, which ignores manifests.
 */
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import * as z from 'zod'
import { type ErrorCode, PenstockError } from '../errors.js'
import type { TokenizerIdentity } from '../formats/batches.js'
import { type OutputReservations, writeWhole } from './output-file.js'
import { readWhole } from './read-at.js'

const contents = {
  version: z.literal(1),
  /** Size of the data file. */
  fileBytes: z.number(),
  /** One checksum per block, see formats/checksum.ts; the header of a packed file is excluded. */
  checksums: z.array(z.number()),
}

const packedSchema = z.object({
  ...contents,
  dataBytes: z.number(),
  tokenBytes: z.number(),
  documents: z.number(),
  tokens: z.number(),
  tokenizer: z
    .object({ sha256: z.string(), vocabSize: z.number(), endOfDocumentId: z.number().optional() })
    .transform((found): TokenizerIdentity => ({ ...found, endOfDocumentId: found.endOfDocumentId }))
    .optional(),
})
export type PackedManifest = z.output<typeof packedSchema>

const indexSchema = z.object({
  ...contents,
  records: z.number(),
  /** Undefined for input that is not a file, or a compressed one. */
  source: z.object({ bytes: z.number(), sample: z.string() }).optional(),
})
export type IndexManifest = z.output<typeof indexSchema>

export const manifestPathOf = (path: string): string => `${path}.manifest`

/** @param reservations of a run with a journal: the manifest is published with the run's outputs, before them */
export async function writePackedManifest(
  path: string,
  manifest: z.input<typeof packedSchema>,
  reservations?: OutputReservations,
): Promise<void> {
  await writeManifest(path, manifest, reservations)
}

/** @param reservations as for `writePackedManifest` */
export async function writeIndexManifest(
  path: string,
  manifest: z.input<typeof indexSchema>,
  reservations?: OutputReservations,
): Promise<void> {
  await writeManifest(path, manifest, reservations)
}

/**
 * Reads the manifest of a packed file; undefined if there is none.
 * @throws PBIN_INVALID for a manifest that is damaged or belongs to another file
 */
export async function readPackedManifest(
  path: string,
  header: { readonly dataBytes: number; readonly tokenBytes: number },
): Promise<PackedManifest | undefined> {
  const manifest = await readManifest(path, packedSchema, 'PBIN_INVALID')
  if (manifest === undefined) return undefined
  if (manifest.dataBytes !== header.dataBytes || manifest.tokenBytes !== header.tokenBytes) {
    throw new PenstockError('PBIN_INVALID', misfit(`${manifest.dataBytes} bytes of tokens`, `${header.dataBytes}`), {
      file: manifestPathOf(path),
    })
  }
  return manifest
}

/**
 * Reads the manifest of an index of `fileBytes` bytes; undefined if there is none.
 * @throws IDX_INVALID for a manifest that is damaged or belongs to another file
 */
export async function readIndexManifest(path: string, fileBytes: number): Promise<IndexManifest | undefined> {
  const manifest = await readManifest(path, indexSchema, 'IDX_INVALID')
  if (manifest === undefined || manifest.fileBytes === fileBytes) return manifest
  throw new PenstockError('IDX_INVALID', misfit(`${manifest.fileBytes} bytes`, `${fileBytes}`), {
    file: manifestPathOf(path),
  })
}

/** @throws TOKENIZER_MISMATCH when the file was packed with a different tokenizer */
export function checkTokenizer(
  manifest: PackedManifest,
  tokenizer: { sha256: string; path: string },
  file: string,
): void {
  const made = manifest.tokenizer
  if (made === undefined || made.sha256 === tokenizer.sha256) return
  throw new PenstockError(
    'TOKENIZER_MISMATCH',
    `packed with the tokenizer ${made.sha256.slice(0, 12)}, but ${tokenizer.path} is ${tokenizer.sha256.slice(0, 12)}`,
    { file },
  )
}

const misfit = (expected: string, found: string): string =>
  `the manifest describes a file with ${expected}, but this file has ${found}: one of them was replaced; remove the manifest if the file is correct`

async function writeManifest(
  path: string,
  manifest: object,
  reservations: OutputReservations | undefined,
): Promise<void> {
  await writeWhole(manifestPathOf(path), 'override', file => file.write(pack(manifest)), reservations)
}

async function readManifest<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  code: ErrorCode,
): Promise<z.output<Schema> | undefined> {
  const file = manifestPathOf(path)
  const bytes = await readWhole(file).catch((error: PenstockError) => {
    if (error.code === 'FILE_MISSING') return undefined
    throw error
  })
  if (bytes === undefined) return undefined
  let found: unknown
  try {
    found = unpack(bytes)
  } catch (error) {
    throw new PenstockError(code, 'the manifest is damaged', { file }, error)
  }
  const parsed = schema.safeParse(found)
  if (!parsed.success) throw new PenstockError(code, 'the manifest is damaged', { file }, parsed.error)
  return parsed.data
}
