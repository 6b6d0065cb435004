import type { Command } from 'commander'
import { PenstockError } from '../../../errors.js'
import type { JobFlags } from '../../actions/document-jobs.js'
import { addOutputOptions } from '../../output/shared-options.js'
import { wholeNumber } from '../../output/terminal.js'

interface FilterFlags extends JobFlags {
  readonly output: string
  readonly minTokens?: number
  readonly maxTokens?: number
  readonly withTokens?: readonly string[]
  readonly withoutTokens?: readonly string[]
}

export function addFilterCommand(program: Command): void {
  const command = program
    .command('filter')
    .summary('select documents of a packed file')
    .description('Copies the documents of a packed file that match all given conditions on length and tokens.')
    .argument('<source>', 'a .pbin file')
    .requiredOption('-o, --output <file>', 'the packed file to write')
    .option('--min-tokens <count>', 'drop documents with fewer tokens', wholeNumber)
    .option('--max-tokens <count>', 'drop documents with more tokens', wholeNumber)
    .option('--with-tokens <id...>', 'drop documents that lack any of these token ids')
    .option('--without-tokens <id...>', 'drop documents that contain any of these token ids')
    .addHelpText('after', '\nExample:\n  penstock filter corpus.pbin -o long.pbin --min-tokens 64\n')
  addOutputOptions(command).action(async (source: string, flags: FilterFlags) => {
    const { filterPacked } = await import('../../actions/document-jobs.js')
    const { minTokens, maxTokens, withTokens, withoutTokens } = flags
    const filter = Object.entries({
      min_tokens: minTokens,
      max_tokens: maxTokens,
      with_tokens: withTokens?.map(wholeNumber),
      without_tokens: withoutTokens?.map(wholeNumber),
    }).filter(([, value]) => value !== undefined)
    if (filter.length === 0)
      throw new PenstockError(
        'ARGUMENT_INVALID',
        'no filter given: pass at least one of --min-tokens, --max-tokens, --with-tokens and --without-tokens',
      )
    await filterPacked(source, flags.output, Object.fromEntries(filter), flags)
  })
}
