/** Reads a definition file. */

import { PenstockError } from '../../errors.js'
import { readAll } from '../../files/read-at.js'
import type { Definition, Variables } from '../../pipelines/definition.js'
import { readDefinition } from '../../pipelines/read-definition.js'

/** @throws FILE_MISSING, CONFIG_INVALID */
export async function openDefinition(file: string, variables: Variables = {}): Promise<Definition> {
  const text = await readAll(file).catch(error => {
    throw new PenstockError('FILE_MISSING', `cannot read the definition: ${(error as Error).message}`, { file }, error)
  })
  return readDefinition(text.toString(), file, variables)
}
