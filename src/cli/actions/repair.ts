/** Repairs one file and prints the result. */
import { extname } from 'node:path'
import { PenstockError } from '../../errors.js'
import { repairPacked } from '../../integrity/repair-packed.js'
import { definitionOf } from '../../pipelines/definition.js'
import { askTokenizer } from '../../workers/tokenizer/tokenizer-thread.js'
import { printOutput } from '../output/print.js'
import { withoutEnding } from '../output/shared-options.js'
import { quantity } from '../output/terminal.js'
import { rejectUnused } from '../output/unused-flags.js'
import { runDefinition } from './run-definition.js'

interface RepairFlags {
  readonly output?: string
  readonly source?: string
  readonly tokenizer?: string
  readonly endOfDocument?: string
}

/** @throws ARGUMENT_INVALID for other file types, and the errors of a file that cannot be rebuilt */
export async function repairFile(file: string, flags: RepairFlags): Promise<void> {
  const ending = extname(file)
  const output = flags.output ?? `${withoutEnding(file)}.repaired${ending}`
  if (ending === '.idx') await repairIndex(file, output, flags)
  else if (ending === '.pbin') await repairTokens(file, output, flags)
  else throw new PenstockError('ARGUMENT_INVALID', 'expected an .idx or .pbin file', { file })
}

/** Rebuilds the index from its source, which contains all its information. */
async function repairIndex(file: string, output: string, flags: RepairFlags): Promise<void> {
  rejectUnused(flags, ['tokenizer', 'endOfDocument'], 'on an index')
  const path = flags.source ?? `${withoutEnding(file)}.jsonl`
  const skip = { faulty: 'skip' }
  const stages = [
    { 'read-file': { path } },
    { 'read-lines': skip },
    { 'validate-json': skip },
    { 'write-index': { path: output, if_exists: 'override' } },
  ]
  await runDefinition(definitionOf({ name: 'repair', stages }, 'penstock repair'), {})
}

async function repairTokens(file: string, output: string, flags: RepairFlags): Promise<void> {
  rejectUnused(flags, ['source'], 'on a packed file')
  if ((flags.tokenizer === undefined) !== (flags.endOfDocument === undefined)) {
    throw new PenstockError('ARGUMENT_INVALID', '--tokenizer and --end-of-document must be used together')
  }
  const endOfDocumentId =
    flags.tokenizer === undefined
      ? undefined
      : await askTokenizer(flags.tokenizer, tokenizer => tokenizer.idOf(flags.endOfDocument!))
  const { documents, tokens, notes } = await repairPacked(file, { output, endOfDocumentId })
  const lines = [...notes, `${output}: ${quantity(documents, 'document')}, ${quantity(tokens, 'token')}`]
  printOutput(`${lines.join('\n')}\n`)
}
