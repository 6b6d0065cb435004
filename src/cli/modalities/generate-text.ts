import type { Command } from 'commander'
import { printGenerated, printOutput } from '../output/print.js'

export function addGenerateTextCommand(program: Command): void {
  program
    .command('generate_text')
    .summary('generate text according to a Modalities configuration')
    .description(
      "Reads a value for each {name} in the configuration's prompt template from standard input, one per line, and continues the resulting prompt.",
    )
    .requiredOption('--config_file_path <file>', 'text generation configuration (YAML)')
    .addHelpText('after', '\nExample:\n  penstock generate_text --config_file_path text_generation_config.yaml\n')
    .action(async (flags: { config_file_path: string }) => {
      const { generateAsConfigured } = await import('./run-generation.js')
      for await (const piece of generateAsConfigured(flags.config_file_path)) printGenerated(piece)
      printOutput('\n')
    })
}
