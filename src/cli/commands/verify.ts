import type { Command } from 'commander'
import { shardsOption } from '../output/shared-options.js'
import { rejectUnused } from '../output/unused-flags.js'

interface VerifyFlags {
  readonly deep?: boolean
  readonly source?: string
  readonly tokenizer?: string
  readonly field: string
  readonly endOfDocument?: string
  readonly json?: boolean
  readonly shards?: number
  readonly shardFolder?: string
}

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .summary('check indexes, packed files, packed rows and checkpoints for damage')
    .description(
      'Reads indexes (.idx), packed files (.pbin), packed rows (.pack) and checkpoints and checks their format, manifests and hashes. Exits with code 1 if anything is damaged.',
    )
    .argument('<path...>', '.idx, .pbin and .pack files, checkpoints, or folders that contain them')
    .option('--source <file>', 'the JSONL file; by default, the file with the same name')
    .option('-t, --tokenizer <path>', 'tokenizer that the packed file should have been made with')
    .option('--deep', 'recompute everything from the source in memory and compare')
    .option('--field <filter>', 'with --deep: the field that was tokenized, as a jq filter', '.text')
    .option(
      '--end-of-document <token>',
      'with --deep: the token appended to each document; by default, that of the manifest',
    )
    .option('--json', 'print one JSON line per file')
    .option(...shardsOption)
    .option('--shard-folder <folder>', 'folder of the plan and of its results, shared by all machines')
    .addHelpText(
      'after',
      '\nExample:\n  penstock verify corpus.pbin --tokenizer gpt2/\n  penstock verify corpus.pbin --tokenizer gpt2/ --deep --source corpus.jsonl\n',
    )
    .action(async (paths: string[], flags: VerifyFlags, command: Command) => {
      if (!flags.deep) {
        rejectUnused(flags, ['endOfDocument'], 'without --deep')
        if (command.getOptionValueSource('field') === 'cli') rejectUnused(flags, ['field'], 'without --deep')
      }
      const { planVerification, printVerdicts } = await import('../actions/verify.js')
      const { shards, shardFolder, json, ...options } = flags
      if (shards !== undefined) {
        await planVerification(paths, options, shards, shardFolder)
        return
      }
      rejectUnused(flags, ['shardFolder'], 'without --shards')
      await printVerdicts(paths, options, json === true)
    })
}
