/** Reads a definition file. */
import { readFile } from 'node:fs/promises'
import { PenstockError } from '../../errors.js'
import type { Definition, Variables } from '../../pipelines/definition.js'
import { readDefinition } from '../../pipelines/read-definition.js'

/** @throws FILE_MISSING, CONFIG_INVALID */
export async function openDefinition(file: string, variables: Variables = {}): Promise<Definition> {
  const text = await readFile(file, 'utf8').catch(error => {
    throw new PenstockError('FILE_MISSING', `cannot read the definition: ${(error as Error).message}`, { file }, error)
  })
  return readDefinition(text, file, variables)
}
