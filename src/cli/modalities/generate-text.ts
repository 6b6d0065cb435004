import type { Command } from 'commander'

export function addGenerateTextCommand(program: Command): void {
  program
    .command('generate_text')
    .summary('continue a text as a configuration of the reference system says')
    .description(
      "Asks for each {name} of the configuration's prompt template, one line of standard input each, and continues the text.",
    )
    .requiredOption('--config_file_path <file>', 'the YAML file')
    .addHelpText('after', '\nExample:\n  penstock generate_text --config_file_path text_generation_config.yaml\n')
    .action(async (flags: { config_file_path: string }) => {
      const { generateAsConfigured } = await import('./run-generation.js')
      for await (const piece of generateAsConfigured(flags.config_file_path)) process.stdout.write(piece)
      process.stdout.write('\n')
    })
}
