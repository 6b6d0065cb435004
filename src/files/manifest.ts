/**
 * The manifest of an output, `<name>.manifest`, in MessagePack: size, checksums and origin of the file, for which its own
 * format has no fields. It is published before the data file, so a data file with a manifest always matches it. The data
 * files themselves stay readable by Modalities, which ignores manifests.
 */
import { access } from 'node:fs/promises'
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import * as z from 'zod'
import { type ErrorCode, PenstockError } from '../errors.js'
import type { TokenizerIdentity } from '../formats/batches.js'
import { type OutputReservations, writeWhole } from './output-file.js'
import { readWhole } from './read-at.js'
import { manifestPathOf, outputTargetOf } from './side-files.js'
import { sourceRecordSchema } from './sources/source-record.js'

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
  /** Undefined for input that is not a file. */
  sources: sourceRecordSchema.optional(),
})
export type PackedManifest = z.output<typeof packedSchema>

const indexSchema = z.object({
  ...contents,
  records: z.number(),
  /** Undefined for input that is not a file, or a compressed one. */
  source: z.object({ bytes: z.number(), sample: z.string() }).optional(),
})
export type IndexManifest = z.output<typeof indexSchema>

const packSchema = z.object({
  ...contents,
  rows: z.number(),
  /** CRC-32 of the header, which `checksums` exclude; absent in files of earlier versions. */
  headerChecksum: z.number().optional(),
})
export type PackManifest = z.output<typeof packSchema>

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

/** @param reservations as for `writePackedManifest` */
export async function writePackManifest(
  path: string,
  manifest: z.input<typeof packSchema>,
  reservations?: OutputReservations,
): Promise<void> {
  await writeManifest(path, manifest, reservations)
}

/**
 * Reads the manifest of a `.pack` file of `fileBytes` bytes; undefined if there is none.
 * @throws PACK_INVALID for a manifest that is damaged or belongs to another file
 */
export async function readPackManifest(path: string, fileBytes: number): Promise<PackManifest | undefined> {
  return ofSize(await readManifest(path, packSchema, 'PACK_INVALID'), path, fileBytes, 'PACK_INVALID')
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
  return ofSize(await readManifest(path, indexSchema, 'IDX_INVALID'), path, fileBytes, 'IDX_INVALID')
}

/** The manifest, if it is of a file of this size. */
function ofSize<Manifest extends { readonly fileBytes: number }>(
  manifest: Manifest | undefined,
  path: string,
  fileBytes: number,
  code: ErrorCode,
): Manifest | undefined {
  if (manifest === undefined || manifest.fileBytes === fileBytes) return manifest
  throw new PenstockError(code, misfit(`${manifest.fileBytes} bytes`, `${fileBytes}`), { file: manifestPathOf(path) })
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

/**
 * Checks before the work that the manifest of an output can be written: a file of its name must be a manifest.
 * @throws FILE_EXISTS
 */
export async function checkManifestPath(path: string): Promise<void> {
  const file = manifestPathOf(await outputTargetOf(path))
  const bytes = await readIfExists(file)
  if (bytes === undefined || z.looseObject(contents).safeParse(decoded(bytes)).success) return
  const message =
    'this file has the name of the manifest of the output and is not one: move it, or choose another output'
  throw new PenstockError('FILE_EXISTS', message, { file })
}

async function writeManifest(
  path: string,
  manifest: object,
  reservations: OutputReservations | undefined,
): Promise<void> {
  await checkManifestPath(path)
  const file = manifestPathOf(await outputTargetOf(path))
  await writeWhole(file, 'override', output => output.write(pack(manifest)), reservations)
}

/** A manifest is stored with the file itself; for a file that is reached through a link, one stored with the link counts too. */
async function readManifest<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  code: ErrorCode,
): Promise<z.output<Schema> | undefined> {
  const target = manifestPathOf(await outputTargetOf(path))
  const file = (await exists(target)) ? target : manifestPathOf(path)
  const bytes = await readIfExists(file)
  if (bytes === undefined) return undefined
  const parsed = schema.safeParse(decoded(bytes))
  if (!parsed.success) throw new PenstockError(code, 'the manifest is damaged', { file }, parsed.error)
  return parsed.data
}

function decoded(bytes: Buffer): unknown {
  try {
    return unpack(bytes)
  } catch {
    return undefined
  }
}

async function readIfExists(file: string): Promise<Buffer | undefined> {
  return readWhole(file).catch((error: PenstockError) => {
    if (error.code === 'FILE_MISSING') return undefined
    throw error
  })
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}
