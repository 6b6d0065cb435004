/**
 * The manifest beside an output, `<name>.manifest`: what the file's own format has no room for, in MessagePack. Size and
 * checksums of the file, and where it comes from. It is made durable before the data file gets its name, so a file with a
 * manifest always fits it; the files themselves stay readable by the reference system, which knows no manifests.
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
  /** Size of the file. */
  fileBytes: z.number(),
  /** Of each block of the file, see formats/checksum.ts; a packed file's header is not part of the first. */
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
  /** Undefined for lines that came from no file, or from a compressed one. */
  source: z.object({ bytes: z.number(), sample: z.string() }).optional(),
})
export type IndexManifest = z.output<typeof indexSchema>

export const manifestPathOf = (path: string): string => `${path}.manifest`

/** @param reservations of a run with a journal: the manifest gets its name with the run's outputs, before them */
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
 * The manifest of a packed file, if it has one that fits.
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
 * The manifest of an index of `fileBytes` bytes, if it has one that fits.
 * @throws IDX_INVALID for a manifest that is damaged or belongs to another file
 */
export async function readIndexManifest(path: string, fileBytes: number): Promise<IndexManifest | undefined> {
  const manifest = await readManifest(path, indexSchema, 'IDX_INVALID')
  if (manifest === undefined || manifest.fileBytes === fileBytes) return manifest
  throw new PenstockError('IDX_INVALID', misfit(`${manifest.fileBytes} bytes`, `${fileBytes}`), {
    file: manifestPathOf(path),
  })
}

/** @throws TOKENIZER_MISMATCH when the tokens were made by another tokenizer */
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
  `the manifest is of a file with ${expected}, this one has ${found}: one of them was replaced; remove the manifest if the file is right`

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
