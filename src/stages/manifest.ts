/**
 * The manifest beside a packed file, `<name>.pbin.manifest`: what the file's own format has no room for. MessagePack.
 * It is made durable before the data file gets its name, so a packed file with a manifest always fits it; the file
 * itself stays readable by the reference system, which knows no manifest.
 */
import { readFile } from 'node:fs/promises'
import { pack, unpack } from 'msgpackr'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { TokenizerIdentity } from '../formats/batches.js'
import { type OutputClaims, writeWhole } from './output-file.js'

const manifestSchema = z.object({
  version: z.literal(1),
  dataBytes: z.number(),
  tokenBytes: z.number(),
  documents: z.number(),
  tokens: z.number(),
  tokenizer: z
    .object({ sha256: z.string(), vocabSize: z.number(), endOfDocumentId: z.number().optional() })
    .transform((found): TokenizerIdentity => ({ ...found, endOfDocumentId: found.endOfDocumentId }))
    .optional(),
})
export type PackedManifest = z.output<typeof manifestSchema>

export const manifestPathOf = (packedPath: string): string => `${packedPath}.manifest`

export async function writeManifest(
  packedPath: string,
  manifest: z.input<typeof manifestSchema>,
  claims?: OutputClaims,
): Promise<void> {
  await writeWhole(manifestPathOf(packedPath), 'override', file => file.write(pack(manifest)), claims)
}

/**
 * The manifest of a packed file, if it has one that fits.
 * @throws PBIN_INVALID for a manifest that is damaged or belongs to another file
 */
export async function readManifest(
  packedPath: string,
  header: { readonly dataBytes: number; readonly tokenBytes: number },
): Promise<PackedManifest | undefined> {
  const file = manifestPathOf(packedPath)
  const bytes = await readFile(file).catch(() => undefined)
  if (bytes === undefined) return undefined
  let found: unknown
  try {
    found = unpack(bytes)
  } catch (error) {
    throw new PenstockError('PBIN_INVALID', 'the manifest is damaged', { file }, error)
  }
  const parsed = manifestSchema.safeParse(found)
  if (!parsed.success) throw new PenstockError('PBIN_INVALID', 'the manifest is damaged', { file })
  const manifest = parsed.data
  if (manifest.dataBytes !== header.dataBytes || manifest.tokenBytes !== header.tokenBytes) {
    throw new PenstockError(
      'PBIN_INVALID',
      `the manifest is of ${manifest.dataBytes} bytes of tokens, the file has ${header.dataBytes}: one of them was replaced`,
      { file },
    )
  }
  return manifest
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
